import HTTPTypes
import QueueEngine
import QueueService

/// What went wrong with a request, as an RFC 9457 problem document or an `error` frame. `code` is stable.
struct Problem: Error, Equatable {
    let status: HTTPResponse.Status
    let code: String
    /// For people, and never with anything secret in it.
    let message: String
    var field: String?
    var retryAfterSeconds: Int?
    var fields = HTTPFields()
    /// Where an events reader can begin again: epoch, first `seq`, head.
    var log: (epoch: UInt64, first: UInt64, head: UInt64)?

    init(
        _ status: HTTPResponse.Status, _ code: String, _ message: String, field: String? = nil, retryAfterSeconds: Int? = nil
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.retryAfterSeconds = retryAfterSeconds
    }

    static func == (a: Problem, b: Problem) -> Bool { (a.status, a.code, a.message) == (b.status, b.code, b.message) }

    static let unauthorized: Problem = {
        var problem = Problem(.unauthorized, "unauthorized", "a valid key is needed: Authorization: Bearer KEY")
        problem.fields[.wwwAuthenticate] = "Bearer"
        return problem
    }()
    static let forbidden = Problem(.forbidden, "forbidden", "this key may not do that")
    static let notFound = Problem(.notFound, "not_found", "there is nothing here")
    static let noSuchQueue = Problem(.notFound, "no_such_queue", "there is no such queue")

    /// Of what a route may throw; nil: nobody has thought of it.
    init?(known error: any Error) {
        if let problem = error as? Problem {
            self = problem
        } else if let error = error as? ServiceError {
            self.init(error)
        } else {
            return nil
        }
    }

    init(_ error: ServiceError) {
        switch error {
        case .noSuchQueue: self = .noSuchQueue
        case .noSuchSession: self.init(.notFound, "no_such_session", "there is no such session")
        case .refused(let refusal): self.init(refusal)
        case .keyReused: self.init(.conflict, "idempotency_key_reused", "this Idempotency-Key was used for another request")
        case .slugTaken: self.init(.conflict, "slug_taken", "another queue has this slug", field: "slug")
        case .preconditionFailed:
            self.init(
                .preconditionFailed, "precondition_failed",
                "the queue has been changed meanwhile: read it again, If-Match names another version")
        case .invalidSetting(let field, let reason): self.init(.unprocessableContent, "invalid_field", "\(field) \(reason)", field: field)
        case .alreadyDone:
            self.init(.conflict, "idempotency_key_used", "this Idempotency-Key was used so long ago that its answer is gone")
        case .userHasPlace: self.init(.conflict, "conflict", "another request was faster; try again")
        case .logRestarted(let epoch, let first, let head):
            self.init(.conflict, "log_restarted", "the log is not the one that you followed: begin again after seq \(first - 1)")
            log = (epoch, first, head)
        case .tooManyLookUps(let seconds):
            self.init(.tooManyRequests, "rate_limited", "you are asking for too many unknown queues at once", retryAfterSeconds: seconds)
        case .unavailable(let seconds):
            self.init(
                .serviceUnavailable, "unavailable", "this cannot be done right now; places in line are safe",
                retryAfterSeconds: seconds)
        case .storeFull(let seconds):
            self.init(
                .serviceUnavailable, "storage_full", "nothing more can be written right now; places in line are safe",
                retryAfterSeconds: seconds)
        case .rejected: self.init(.unprocessableContent, "not_storable", "the store does not take what this request holds")
        }
    }

    private init(_ refusal: QueueRefusal) {
        switch refusal {
        case .closed: self.init(.conflict, "queue_closed", "the queue is closed", retryAfterSeconds: 60)
        case .full: self.init(.conflict, "queue_full", "the queue is full", retryAfterSeconds: 30)
        case .noSuchLane: self.init(.unprocessableContent, "no_such_lane", "lane is not one of the queue's priorityLanes", field: "lane")
        case .notAdmitted: self.init(.conflict, "not_admitted", "the session has not been admitted")
        case .ended: self.init(.conflict, "session_ended", "the session has ended")
        case .wrongStatus(let status): self.init(.conflict, "wrong_status", "a queue that is \(status.rawValue) cannot do that")
        case .closesAtHasPassed: self.init(.conflict, "closes_at_has_passed", "closesAt has passed: set it anew first", field: "closesAt")
        case .closesAtIsPast:
            self.init(.unprocessableContent, "invalid_field", "closesAt must lie in the future", field: "closesAt")
        case .closesBeforeOpening:
            self.init(.unprocessableContent, "invalid_field", "closesAt must be after opensAt", field: "closesAt")
        case .notScheduled:
            self.init(.conflict, "not_scheduled", "the queue has opened: opensAt cannot be set any more", field: "opensAt")
        }
    }

    /// The document.
    var response: Response {
        var body: [UInt8] = []
        body.object { body in
            body.member("type", "about:blank")
            body.member("title", status.reasonPhrase)
            body.member("status", status.code)
            body.member("code", code)
            body.member("detail", message)
            writeExtras(&body)
        }
        var response = Response(status, body: body, type: "application/problem+json")
        response.fields.append(contentsOf: fields)
        if let retryAfterSeconds { response.fields[.retryAfter] = String(retryAfterSeconds) }
        return response
    }

    /// What the document and an `error` frame have in common behind code and words.
    func writeExtras(_ bytes: inout [UInt8]) {
        bytes.member("field", ifPresent: field)
        bytes.member("retryAfterSeconds", ifPresent: retryAfterSeconds)
        if let log {
            bytes.member("epoch", String(log.epoch, radix: 16))
            bytes.member("after", log.first - 1)
            bytes.member("head", log.head)
        }
    }
}
