import Testing

@testable import Storage

@Suite struct PostgresAddressTests {
    @Test(arguments: [
        ("postgresql://bob:p%40ss@db:5433/queues", "db/queues"), ("postgresql:///queues", "the local server/queues"),
        ("postgresql://bob@%2Fvar%2Frun/queues", "/var/run/queues"), ("postgresql://a:1,b:2/queues", "a,b/queues"),
        ("postgresql://bob@%40abstract/queues", "@abstract/queues"), ("postgresql://[::1]:5432/queues", "::1/queues"),
    ]) func anAddressIsUnderstood(_ uri: String, _ shown: String) throws {
        #expect(try PostgresAddress(uri: uri).description == shown)
    }

    /// What is wrong goes into a log: nothing of a password may stand in it, however it was written.
    @Test(arguments: [
        "postgresql://bob:p@secret@db/queues", "postgresql://bob:p/secret@db/queues", "postgresql://bob:secret?x@db/queues",
        "postgresql://bob:p?secret=1@db/queues", "postgresql://bob:%secret@db/queues", "postgresql://bob:1?secret@db/queues",
        "postgresql://db:secret/queues", "postgresql://db/queues?password=%secret", "postgresql://[secret/queues",
        "postgresql://bob:a\"secret%zz@db/queues",
    ]) func noRefusalShowsAPassword(_ uri: String) {
        do {
            let address = try PostgresAddress(uri: uri)
            #expect(!address.description.contains("secret"), "\(address.description)")
        } catch {
            #expect(!error.reason.contains("secret"), "\(error.reason)")
        }
    }

    @Test func aHomeIsOneThatCanBeWritten() throws {
        let uri = "postgresql://db/queues?target_session_attrs=standby"
        #expect(throws: PostgresAddress.Malformed.self) { try PostgresAddress(uri: uri) }
        #expect(try PostgresAddress(uri: uri, for: .reading).description == "db/queues")
    }
}
