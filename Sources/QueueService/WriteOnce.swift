/// A write that carries an `Idempotency-Key`: done once, however often it is asked for.
public struct WriteOnce: Sendable, Hashable {
    public let tenant: TenantID
    public let key: String
    /// A digest of what was asked: the same key with another request is refused.
    public let requestHash: [UInt8]

    public init(tenant: TenantID, key: String, requestHash: [UInt8]) {
        self.tenant = tenant
        self.key = key
        self.requestHash = requestHash
    }

    /// - Parameter result: identifies what the write made.
    public func receipt(_ result: String) -> Receipt { Receipt(tenant: tenant, key: key, requestHash: requestHash, result: result) }
}

extension QueueService {
    /// How often a command that lost a race for its person or its key is tried again. Each turn waits for a commit.
    static let raceTurns = 16

    /// Returns what an earlier write with this key made, or makes it: of those who race for the key one makes it, and the
    /// others find it in their next turn.
    ///
    /// - Throws: `unavailable` where that has not come to an end after some turns.
    nonisolated(nonsending) func doingOnce<R>(
        _ once: WriteOnce?, _ find: () async throws(ServiceError) -> R?, orElse make: () async throws(ServiceError) -> R
    ) async throws(ServiceError) -> R {
        for _ in 0..<QueueService.raceTurns {
            if once != nil, let earlier = try await find() { return earlier }
            do throws(ServiceError) { return try await make() } catch {
                guard once != nil else { throw error }
                if error == .alreadyDone { continue }
                // What stands against it may be what the same request has made a moment ago.
                if !error.isOfTheStore, let earlier = try await find() { return earlier }
                throw error
            }
        }
        throw .unavailable(retryAfterSeconds: 1)
    }

    /// What an earlier write with this key made; nil where there was none.
    ///
    /// - Throws: `keyReused`, where that was another request.
    public func earlierResult(_ once: WriteOnce?) async throws(ServiceError) -> String? {
        guard let once else { return nil }
        let receipt = try await asking { () throws(StoreError) in try await store.receipt(tenant: once.tenant, key: once.key) }
        guard let receipt else { return nil }
        guard receipt.requestHash == once.requestHash else { throw .keyReused }
        return receipt.result
    }
}

extension Decision {
    /// Before anything is changed: the same key may be in this very batch already.
    func check(_ once: WriteOnce?) throws(ServiceError) {
        if let once, receipts.contains(where: { $0.key == once.key && $0.tenant == once.tenant }) { throw .alreadyDone }
    }

    /// Remembers the write in the same transaction that does it.
    mutating func receipt(_ once: WriteOnce?, result: @autoclosure () -> String) {
        guard let once else { return }
        receipts.append(once.receipt(result()))
    }
}
