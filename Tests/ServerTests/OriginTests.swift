import Testing

@testable import Server

@Suite struct OriginTests {
    /// However they are listed: browsers send the first spelling of each (RFC 6454 §6.1).
    @Test(arguments: [
        ["https://shop.example", "https://shop.example:443", "HTTPS://Shop.Example", "https://shop.example."],
        ["http://shop.example", "http://shop.example:80"],
        ["http://shop.example:8000", "http://shop.example:08000"],
        ["http://[::1]:81", "http://[0:0:0:0:0:0:0:1]:81"],
        ["capacitor://localhost"], ["tauri://localhost"], ["chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb"],
        ["moz-extension://0f1e2d3c-0000-4000-8000-000000000000"], ["ionic://localhost"],
    ]) func oneOriginHasManySpellings(spellings: [String]) throws {
        for listed in spellings {
            let allowed = try AllowedOrigins(listed: listed)
            for sent in spellings { #expect(allowed.contains(sent), "\(listed) \(sent)") }
            #expect(!allowed.isEmpty && !allowed.contains("https://evil.example") && !allowed.contains("null"))
        }
    }

    @Test(arguments: [
        ("https://shop.example", "http://shop.example"), ("https://shop.example", "https://shop.example:444"),
        ("https://shop.example", "https://www.shop.example"), ("https://shop.example", "https://shop.example.evil"),
        ("https://shop.example", "https://shop.example@evil"), ("https://shop.example", "https://shop.example/"),
        ("capacitor://localhost", "http://localhost"), ("capacitor://localhost", "capacitor://localhost:1"), ("null", "file://"),
        ("null", ""),
    ]) func anotherOriginIsAnother(listed: String, sent: String) throws {
        #expect(!(try AllowedOrigins(listed: listed)).contains(sent))
    }

    /// An entry that no browser will ever send is an operator's mistake, found at the start.
    @Test(arguments: [
        "shop.example", "https://", "https://shop.example/", "https://shop.example/path", "https://*.shop.example", "*", "https://a:b@c",
        "https://shop.example:0x1", "https://shop.example:70000", "https://müller.example", "file://", "wss://shop.example", "://a",
        "9://a",
        "https://shop example", "https://[::1", "https://shop.example?x", "https://.",
    ]) func whatCanNeverMatchIsRefused(listed: String) {
        #expect(throws: Origin.Unusable.self) { try AllowedOrigins(listed: listed) }
    }

    @Test func listsHaveSpacesAndNull() throws {
        let allowed = try AllowedOrigins(listed: "https://a.example, null ,app://b")
        #expect(["https://a.example", "null", "app://b"].allSatisfy(allowed.contains))
        #expect(AllowedOrigins().isEmpty && !AllowedOrigins().contains("null"))
        #expect(!(try AllowedOrigins(listed: "null")).isEmpty)
    }
}
