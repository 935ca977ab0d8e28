import Foundation
import Locks
import QueueEngine
import QueueService
import Testing
import TestSupport

@testable import Server

/// Rotating secrets costs nobody a place, and a key that is revoked or replaced opens nothing.
@Suite struct SecretTests {
    private static let clock = Timestamp(seconds: 1_700_000_000)

    private func secrets(_ store: any QueueStore) async throws -> SecretRing.Secrets {
        try await Bootstrap(store: store, random: SystemRandom(), now: SecretTests.clock).secrets(issuer: "i")
    }

    private func rotate(_ store: any QueueStore, at moment: Timestamp) async throws {
        try await Bootstrap(store: store, random: SystemRandom(), now: moment).rotate()
    }

    private func claims() -> SessionClaims {
        SessionClaims(
            queue: QueueID(high: 1, low: 2), session: SessionID(high: 3, low: 4), ticket: Ticket(lane: 0, number: 1), user: nil,
            expiresAt: SecretTests.clock + .seconds(60))
    }

    @Test func tokenSignedElsewhereAfterRotationIsRead() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let ring = SecretRing(try await secrets(store)) { try await secrets(store) }
        try await rotate(store, at: SecretTests.clock + .seconds(1))
        let elsewhere = try await secrets(store).tokens.make(claims())
        #expect(ring.tokens.reading(elsewhere, at: SecretTests.clock) == .unknownKey)
        #expect(try await ring.claims(elsewhere, at: SecretTests.clock) == claims())
    }

    @Test func tokenWithUnknownKeyIsNotFinalWhileSecretsCannotBeRead() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let isAway = Lock(true)
        let ring = SecretRing(try await secrets(store)) {
            if isAway.withLock({ $0 }) { throw StoreError.unavailable("away") }
            return try await secrets(store)
        }
        let stranger = SessionTokens([SessionTokenTests.secret("other")]).make(claims())
        await #expect(throws: Problem.storeAway) { try await ring.claims(stranger, at: SecretTests.clock) }
        isAway.withLock { $0 = false }
        await #expect(throws: Problem.unauthorized) { try await ring.claims(stranger, at: SecretTests.clock) }
        await #expect(throws: Problem.unauthorized) { try await ring.claims("st1.AAAA", at: SecretTests.clock) }
    }

    /// Secrets that were made since the copy are in it again, so what they signed is good at instances that start later.
    @Test func restoredStoreGetsBackTheSecretsThatItHasLost() async throws {
        let (home, copy) = try await (TestStore(.sqlite), TestStore(.sqlite))
        let (store, restored) = try await (home.open(), copy.open())
        let ring = SecretRing(try await secrets(store)) { try await secrets(store) }
        for secret in try await secrets(store).stored { try await restored.insert(secret) }
        try await rotate(store, at: SecretTests.clock + .seconds(1))
        #expect(await ring.renew())
        let token = ring.tokens.make(claims())
        #expect(try await secrets(restored).tokens.reading(token, at: SecretTests.clock) == .unknownKey)
        #expect(try await ring.restore(to: restored).count == 2)
        #expect(try await ring.restore(to: restored).isEmpty)
        #expect(try await secrets(restored).tokens.reading(token, at: SecretTests.clock) == .claims(claims()))
        #expect(try await secrets(restored).admissions.keySet == ring.admissions.keySet)
    }

    /// What an operator has deleted from the store is forgotten when the secrets are read anew, and written back nowhere.
    @Test func deletedSecretIsForgotten() async throws {
        let (home, other) = try await (TestStore(.sqlite), TestStore(.sqlite))
        let (store, emptied) = try await (home.open(), other.open())
        for secret in try await secrets(store).stored { try await emptied.insert(secret) }
        try await rotate(store, at: SecretTests.clock + .seconds(1))
        let isDeleted = Lock(false)
        let ring = SecretRing(try await secrets(store)) { try await secrets(isDeleted.withLock { $0 } ? emptied : store) }
        let token = ring.tokens.make(claims())
        isDeleted.withLock { $0 = true }
        #expect(await ring.renew())
        #expect(ring.tokens.reading(token, at: SecretTests.clock) == .unknownKey)
        #expect(try await ring.restore(to: emptied).isEmpty)
    }

    @Test func strangersWithInventedTokensCauseOneReadASecond() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let reads = Lock(0)
        let ring = SecretRing(try await secrets(store)) {
            reads.withLock { $0 += 1 }
            return try await secrets(store)
        }
        let stranger = SessionTokens([SessionTokenTests.secret("other")]).make(claims())
        let began = ContinuousClock.now
        await withTaskGroup { group in
            for _ in 0..<500 { group.addTask { _ = try? await ring.claims(stranger, at: SecretTests.clock) } }
        }
        for _ in 0..<2 { _ = try? await ring.claims(stranger, at: SecretTests.clock) }
        let seconds = Int((ContinuousClock.now - began).components.seconds)
        #expect(reads.withLock { $0 } <= seconds + 2)
    }

    private func kid(_ jwt: String) throws -> String {
        let head = try #require(Data(base64URL: String(jwt.split(separator: ".")[0])))
        return try #require(try JSONSerialization.jsonObject(with: head) as? [String: Any])["kid"] as? String ?? ""
    }

    @Test func newAdmissionKeyIsPublishedBeforeItSigns() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let first = try await secrets(store).admissions
        let rotated = SecretTests.clock + .seconds(1_000)
        try await rotate(store, at: rotated)
        let both = try await secrets(store).admissions
        let record = QueueRecord(
            id: QueueID(high: 1, low: 1), tenant: TenantID(high: 1, low: 1), epoch: 1, slug: "s", name: "n",
            configuration: QueueConfiguration(), createdAt: SecretTests.clock)
        func signer(_ admissions: AdmissionSigner, _ now: Timestamp) async throws -> String {
            try kid(
                await admissions.sign(session: SessionID(high: 3, low: 4), user: nil, queue: record, at: now, until: now + .seconds(60)))
        }
        let old = try await signer(first, SecretTests.clock)
        #expect(try await signer(both, rotated) == old)
        #expect(try await signer(both, rotated + .seconds(AdmissionSigner.keySetSeconds)) == old)
        let new = try await signer(both, rotated + AdmissionSigner.publishedFirst)
        #expect(new != old)
        let published = String(decoding: both.keySet, as: UTF8.self)
        #expect(published.contains(old) && published.contains(new))
    }

    @Test func keySetOfAnInstanceThatWasNotToldHasTheNewKey() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let ring = SecretRing(try await secrets(store)) { try await secrets(store) }
        let before = ring.admissions.keySet.count
        try await rotate(store, at: SecretTests.clock)
        // Nobody is kept waiting for a read that takes long, as on a busy machine.
        #expect(await eventually { await ring.keySet().count > before })
    }

    @Test func changedKeyInTheSettingsRemovesTheOneBefore() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let bootstrap = Bootstrap(store: store, random: SystemRandom(), now: SecretTests.clock)
        let tenant = try await bootstrap.tenant().id
        let (other, _) = NewKey.make(tenant: tenant, role: .admin, label: "ann", at: SecretTests.clock, random: SystemRandom())
        try await store.insert(other)
        for key in ["first", "first", "second"] { _ = try await bootstrap.adminKey(key, tenant: tenant) }
        let known = Set(try await store.keys().map(\.hash))
        #expect(known == [KeyRing.digest("second"), other.hash])
    }

    @Test func keyMadeElsewhereIsKnownAtOnceAndMadeUpOnesAreRarelyLookedFor() async throws {
        let tenant = TenantID(high: 1, low: 1)
        let (key, text) = NewKey.make(tenant: tenant, role: .integrator, label: "", at: SecretTests.clock, random: SystemRandom())
        let keys = Lock<[APIKey]>([])
        let reads = Lock(0)
        let ring = KeyRing(watch: KeyWatch { Set($0) }) {
            reads.withLock { $0 += 1 }
            return keys.withLock { $0 }
        }
        #expect(await ring.find("nobody's") == nil)
        keys.withLock { $0 = [key] }
        #expect(await ring.find(text) == key)
        let (before, began) = (reads.withLock { $0 }, ContinuousClock.now)
        for _ in 0..<20 {
            await withTaskGroup { group in
                for number in 0..<50 { group.addTask { #expect(await ring.find("made up \(number)") == nil) } }
            }
            guard ContinuousClock.now - began < .seconds(3) else { break }
        }
        // One a second for made-up keys, and one whenever what is known is 0.8 s old.
        let seconds = Double((ContinuousClock.now - began).components.seconds + 1)
        #expect(reads.withLock { $0 } - before <= 2 + Int(seconds * 2.25))
        let asked = reads.withLock { $0 }
        #expect(await ring.find("") == nil)
        #expect(reads.withLock { $0 } <= asked + 1)
    }

    @Test func revokedKeyIsKnownToBeRevokedSoon() async throws {
        let home = try await TestStore(.sqlite)
        let store = try await home.open()
        let bootstrap = Bootstrap(store: store, random: SystemRandom(), now: SecretTests.clock)
        let tenant = try await bootstrap.tenant().id
        let (key, text) = NewKey.make(tenant: tenant, role: .integrator, label: "", at: SecretTests.clock, random: SystemRandom())
        try await store.insert(key)
        let ring = KeyRing(store: store)
        #expect(await ring.find(text) == key)
        let revoked = Lock<Set<KeyID>>([])
        ring.watch.add { keys in revoked.withLock { $0.formUnion(keys) } }
        ring.watch.hold(key.id)
        #expect(try await store.deleteKey(key.id, tenant: tenant))
        // The first look after a second is not the one that finds out: it is answered by what is so.
        try await Task.sleep(for: .milliseconds(1_000))
        #expect(await eventually { await ring.find(text) == nil })
        #expect(await eventually { revoked.withLock { $0 } == [key.id] })
    }
}
