import DequeModule
import EventLoop

/// Shares out a loop's turns among its HTTP connections: however many have something to say, a turn stays short, and who must wait
/// goes on in order.
///
/// What is counted are steps: a head, the leave to send content, a request, or finding that more must come.
final class RequestTurns {
    /// Steps of those who have just been heard, in a turn, and as many of those who wait.
    private static let stepsInTurn = 64

    private let loop: EventLoop
    private var turn: UInt64 = 0
    private var promptSteps = 0
    private var lateSteps = 0
    private var waiting = Deque<() -> Void>()

    init(_ loop: EventLoop) { self.loop = loop }

    /// Counts one more step; false: the turn has had its steps.
    func hasStep(isLate: Bool) -> Bool {
        if turn != loop.now { (turn, promptSteps, lateSteps) = (loop.now, 0, 0) }
        guard (isLate ? lateSteps : promptSteps) < RequestTurns.stepsInTurn else { return false }
        if isLate { lateSteps += 1 } else { promptSteps += 1 }
        return true
    }

    /// Goes on with `advance` when those who came before have had their steps.
    func wait(_ advance: @escaping () -> Void) {
        waiting.append(advance)
        if waiting.count == 1 { loop.defer { [self] in advanceWaiting() } }
    }

    private func advanceWaiting() {
        // A connection that has more to do goes to the end of the queue, and its next steps belong to the next turn.
        var left = waiting.count
        while left > 0, lateSteps < RequestTurns.stepsInTurn || turn != loop.now {
            let advance = waiting[0]
            advance()
            waiting.removeFirst()
            left -= 1
        }
        if !waiting.isEmpty { loop.defer { [self] in advanceWaiting() } }
    }
}
