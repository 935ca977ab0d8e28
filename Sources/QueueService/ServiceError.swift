public import QueueEngine

/// Why something could not be done, and so what the caller can do about it. Nothing has changed, but for a deletion that broke
/// off, and perhaps where the error is `unavailable`: a commit whose answer was lost may have happened.
public enum ServiceError: Error, Sendable, Hashable {
    case noSuchQueue
    case noSuchSession
    case refused(QueueRefusal)
    /// `Idempotency-Key` was used for something else.
    case keyReused
    case slugTaken
    /// The queue's settings are not those that the change was meant for.
    case preconditionFailed
    /// A setting that cannot be, alone or beside the others: its name in the API, and what it must be.
    case invalidSetting(field: String, reason: String)
    /// A trusted user has a place in this queue already. Met and answered inside the service.
    case userHasPlace
    /// A write with this `Idempotency-Key` has been done. Answered inside the service, except where what it made is gone.
    case alreadyDone
    /// The reader's position is not one of this log: where it begins, and where it is.
    case logRestarted(epoch: UInt64, first: UInt64, head: UInt64)
    /// Too many queues are being looked for on behalf of one caller; come back after that many seconds.
    case tooManyLookUps(retryAfterSeconds: Int)
    /// The store is out of reach; come back after that many seconds.
    case unavailable(retryAfterSeconds: Int)
    /// The store has no room.
    case storeFull(retryAfterSeconds: Int)
    /// The store does not take the request's own data, as a character that its encoding lacks.
    case rejected

    init(_ error: StoreError) {
        switch error {
        case .full: self = .storeFull(retryAfterSeconds: 10)
        case .unavailable, .inDoubt, .corrupt: self = .unavailable(retryAfterSeconds: 5)
        case .busy: self = .unavailable(retryAfterSeconds: 1)
        case .rejected: self = .rejected
        }
    }
}

extension ServiceError {
    /// Nobody has asked for anything wrong.
    var isOfTheStore: Bool {
        switch self {
        case .unavailable, .storeFull: true
        default: false
        }
    }
}

extension QueueService {
    /// While the store is known to be away nobody waits to find that out again. One that is full can still be read.
    func checkStore() throws(ServiceError) {
        if let outage, !outage.allowsReading { throw outage.error }
    }

    /// A question to the store, with its errors as the service's.
    nonisolated(nonsending) func asking<R>(
        _ question: () async throws(StoreError) -> R
    ) async throws(ServiceError) -> R {
        do throws(StoreError) { return try await question() } catch { throw ServiceError(error) }
    }
}
