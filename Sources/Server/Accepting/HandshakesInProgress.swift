import DequeModule
import EventLoop

protocol SecureHandshake: AnyObject {
    /// Whether it is done, has failed, or was given up.
    var isOver: Bool { get }
}

extension TLSAcceptor: SecureHandshake {}

/// The TLS handshakes of a loop that have begun. A peer that has said nothing yet is not among them: it costs a record, and
/// OpenSSL's are some 30 kB.
struct HandshakesInProgress<Element: SecureHandshake> {
    /// In the order in which they began. Those behind the first may be over.
    private var all: Deque<Element> = []
    private var count = 0

    /// How many are kept, those that are over among them.
    var kept: Int { all.count }

    /// Returns the oldest, to be refused, where there are as many as may be: an honest peer's takes milliseconds.
    mutating func begin(_ handshake: Element, limit: Int) -> Element? {
        if all.count >= 2 * limit { all.removeAll { $0.isOver } }
        all.append(handshake)
        count += 1
        guard count > limit else { return nil }
        while let oldest = all.popFirst() { if !oldest.isOver { return oldest } }
        return nil
    }

    mutating func end() {
        count -= 1
        while all.first?.isOver == true { all.removeFirst() }
    }
}
