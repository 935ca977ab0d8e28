import Testing

@testable import Server

@Suite struct RedirectURLTests {
    @Test(arguments: [
        ("https://shop.example", "https://shop.example?admission=x"), ("https://shop.example/", "https://shop.example/?admission=x"),
        ("https://shop.example/in?a=1&b=2", "https://shop.example/in?a=1&b=2&admission=x"),
        ("https://shop.example/in?admission=old", "https://shop.example/in?admission=x"),
        (
            "https://shop.example/in?a=1&%61dmission=old&admission=older&admissions=3",
            "https://shop.example/in?a=1&admissions=3&admission=x"
        ),
        ("https://shop.example/in?admission", "https://shop.example/in?admission=x"),
        ("https://shop.example/?", "https://shop.example/?admission=x"),
        ("https://shop.example/#/cart?step=2", "https://shop.example/?admission=x#/cart?step=2"),
        ("https://shop.example/in?a=1#admission=keep", "https://shop.example/in?a=1&admission=x#admission=keep"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x?admission=x"),
    ]) func admissionIsAddedOnce(address: String, result: String) {
        #expect(RedirectURL.isUsable(address))
        #expect(RedirectURL.adding("x", to: address) == result)
    }

    @Test(arguments: [
        "javascript:alert(1)", "ftp://shop.example", "//shop.example", "shop.example", "https://", "https://a b", "https://a@b/",
        "https:///x",
        "https://shop.example\\@evil", "https://shop.example/ä", "https://shop.example/\n", "capacitor://localhost", "HTTPS:/a",
    ]) func anythingElseIsRefused(address: String) { #expect(!RedirectURL.isUsable(address)) }
}
