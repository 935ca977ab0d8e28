import Foundation
import QueueEngine
import QueueService
import Testing

@testable import Server

@Suite struct SessionTokenTests {
    static let now = Timestamp(seconds: 1_700_000_000)
    static let claims = SessionClaims(
        queue: QueueID(high: 1, low: 2), session: SessionID(high: 3, low: 4), ticket: Ticket(lane: 2, number: 77), user: "ann",
        expiresAt: now + .seconds(60))

    static func secret(_ id: String) -> StoredSecret {
        StoredSecret(id: id, purpose: SessionTokens.purpose, value: Array(id.utf8) + [UInt8](repeating: 1, count: 24), createdAt: now)
    }

    @Test func whatIsWrittenAsBase64URLIsWhatFoundationReads() throws {
        for count in 0..<100 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 91 + count * 57) }
            let text = bytes.base64URL(behind: "st1.")
            #expect(
                text.hasPrefix("st1.")
                    && text.dropFirst(4) == Data(bytes).base64EncodedString(options: [.base64URLAlphabet, .omitPaddingCharacter]))
            #expect(try Array(#require(Data(base64URL: String(text.dropFirst(4))))) == bytes)
        }
    }

    @Test func saysWhatItWasMadeOf() {
        let tokens = SessionTokens([SessionTokenTests.secret("a")])
        let token = tokens.make(SessionTokenTests.claims)
        #expect(tokens.read(token, at: SessionTokenTests.now) == SessionTokenTests.claims)
        #expect(tokens.read(token, at: SessionTokenTests.now + .seconds(60)) == nil)
        #expect(SessionTokens([SessionTokenTests.secret("b")]).read(token, at: SessionTokenTests.now) == nil)
    }

    @Test func anOldKeyStillReads() {
        let old = SessionTokens([SessionTokenTests.secret("a")]).make(SessionTokenTests.claims)
        let rotated = SessionTokens([SessionTokenTests.secret("b"), SessionTokenTests.secret("a")])
        #expect(rotated.read(old, at: SessionTokenTests.now) == SessionTokenTests.claims)
        #expect(rotated.make(SessionTokenTests.claims) != old)
    }

    /// No character of it can be changed, and none left out or added.
    @Test func everyForgeryIsRefused() {
        let tokens = SessionTokens([SessionTokenTests.secret("a")])
        let token = Array(tokens.make(SessionTokenTests.claims).utf8)
        for index in token.indices {
            var forged = token
            forged[index] = forged[index] == 0x41 ? 0x42 : 0x41
            let read = tokens.read(String(decoding: forged, as: UTF8.self), at: SessionTokenTests.now)
            // The last character of base64 carries bits that mean nothing.
            #expect(read == nil || index == token.count - 1)
            #expect(tokens.read(String(decoding: token[..<index], as: UTF8.self), at: SessionTokenTests.now) == nil)
        }
        #expect(tokens.read(String(decoding: token, as: UTF8.self) + "AAAA", at: SessionTokenTests.now) == nil)
    }
}

@Suite struct LiveCloseTests {
    @Test func rangesSayWhetherToComeBack() {
        for close in LiveClose.allCases {
            #expect(close.reason.utf8.count <= 123)
            let isFinal = [.sessionEnded, .unauthorized, .noSuchQueue, .badMessage].contains(close)
            #expect(isFinal == (close.rawValue >= 4500), "\(close)")
        }
    }

    /// Who repeats a request for a key is told the same text; who has read the store cannot make it.
    @Test func theTextOfAKeyFollowsFromWhoAsksAndFromWhat() {
        let secrets = (1...2).map {
            StoredSecret(
                id: "\($0)", purpose: SessionTokens.purpose, value: [UInt8](repeating: UInt8($0), count: 32),
                createdAt: Timestamp(seconds: Double(9 - $0)))
        }
        let (id, other) = (KeyID(high: 1, low: 2), KeyID(high: 1, low: 3))
        func once(_ key: String, _ hash: UInt8 = 1) -> WriteOnce {
            WriteOnce(tenant: TenantID(high: 5, low: 5), key: key, requestHash: [hash])
        }
        let tokens = SessionTokens(secrets)
        let admin = "sk_admin"
        let text = tokens.newestText(of: id, once("a"), admin: admin)
        #expect(text == tokens.newestText(of: id, once("a"), admin: admin))
        #expect(text.wholeMatch(of: /sk_[a-z0-9]{40}/) != nil)
        let stored = KeyRing.digest(admin).map { String($0, radix: 16) }.joined()
        let others = [
            tokens.newestText(of: other, once("a"), admin: admin), tokens.newestText(of: id, once("b"), admin: admin),
            tokens.newestText(of: id, once("a", 2), admin: admin), tokens.newestText(of: id, once("a"), admin: stored),
            SessionTokens([secrets[1]]).newestText(of: id, once("a"), admin: admin),
        ]
        #expect(Set(others + [text]).count == 6)
        // After a rotation the one that it was made from is still found, and not where that is gone.
        let digest = KeyRing.digest(text)
        #expect(SessionTokens(secrets.reversed()).text(of: id, once("a"), admin: admin, digest: digest) == text)
        #expect(SessionTokens([secrets[1]]).text(of: id, once("a"), admin: admin, digest: digest) == nil)
    }
}
