import Testing

@testable import EventLoop

@Suite final class SourceTableTests {
    private let source: Source
    private var sources = SourceTable()

    init() throws {
        source = Source(loop: try EventLoop(), number: 7)
        _ = sources.insert(source)
        sources.setDeadline(10, of: 7)
    }

    private func popDue(at second: UInt32) -> Source? {
        var number = 0
        return sources.popDue(at: second, from: &number)
    }

    private func takeDeadline(at second: UInt32) -> Bool { sources.takeDeadline(of: source, at: second) }

    private func wait(_ readiness: Readiness) -> Bool { sources.addPending(readiness, to: source) }

    private func serve() -> Readiness { sources.takePending(source) }

    @Test func timeIsUpOnce() {
        #expect(popDue(at: 9) == nil)
        #expect(popDue(at: 10) === source)
        #expect(popDue(at: 11) == nil)
    }

    /// What has come for a source that waits for its turn may be what its time limit is about: it is served first.
    @Test func timeIsNotUpBeforeTheTurn() {
        #expect(wait(.readable))
        #expect(popDue(at: 10) == nil)
        #expect(serve() == .readable)
        #expect(!takeDeadline(at: 9))
        #expect(takeDeadline(at: 10))
        #expect(!takeDeadline(at: 10))
    }

    /// A peer that always has more to say has been heard, and its time ends; who has asked for a turn has not been.
    @Test func moreToReadBuysNoTime() {
        #expect(wait(.turn))
        #expect(!takeDeadline(at: 10))
        #expect(serve() == .turn)
        #expect(wait([.readable, .peerClosed]))
        #expect(takeDeadline(at: 10))
    }

    @Test func whatIsTakenBackWasNeverEntered() {
        sources.takeBack(source)
        #expect(sources.count == 0)
        #expect(source.generation == 0)
        #expect(popDue(at: 10) == nil)
    }
}
