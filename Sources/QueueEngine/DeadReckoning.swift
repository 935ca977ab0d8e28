/// What a client shows between two frames, and what the server therefore knows that it shows.
///
/// The formula is `min(what it showed, position − rate × elapsed)`, at least 1, rounded to the nearest whole number.
/// `docs/protocol.md` ("The display model") is the contract; `Tests/Vectors/display.json` is run against this type and
/// against the browser's.
public struct ShownPosition: Sendable, Hashable {
    /// What was shown when the last frame came: the line that is never crossed upwards.
    private var ceiling: Float
    private var position: Float
    /// Positions a second.
    private var rate: Float
    /// Milliseconds of some clock that wraps, of the last frame.
    private var at: UInt32

    /// The first frame, or one that says why the position rose.
    public init(position: Int, rate: Double, at milliseconds: UInt32) {
        ceiling = Float(position)
        self.position = Float(position)
        self.rate = Float(rate)
        at = milliseconds
    }

    /// A frame that follows: what is shown can only stay or fall.
    public mutating func update(position: Int, rate: Double, at milliseconds: UInt32) {
        ceiling = exact(at: milliseconds)
        self.position = Float(position)
        self.rate = Float(rate)
        at = milliseconds
    }

    private func predicted(at milliseconds: UInt32) -> Float {
        position - rate * Float(milliseconds &- at) / 1_000
    }

    /// What is shown, before rounding.
    public func exact(at milliseconds: UInt32) -> Float { max(1, min(ceiling, predicted(at: milliseconds))) }

    /// The number on the screen.
    public func value(at milliseconds: UInt32) -> Int { Int(exact(at: milliseconds).rounded()) }

    /// Whether what is shown changes with time alone. What does not needs no look before something has happened.
    public var isMoving: Bool { rate > 0 }

    /// Whether it falls by itself at this moment: only then can a frame stop it.
    private func isFalling(at milliseconds: UInt32) -> Bool {
        rate > 0 && predicted(at: milliseconds) < ceiling && predicted(at: milliseconds) > 1
    }

    /// Up to here every change is shown.
    public static let exactUpTo = 100

    /// By how much it may be wrong without a frame.
    private static func bound(_ truth: Float) -> Float { truth <= Float(exactUpTo) ? 0.5 : max(1, 0.01 * truth) }

    /// What was shown when the last frame came was too low by more than that.
    private var wasTooLow: Bool { position - ceiling > ShownPosition.bound(position) }

    /// Whether a frame is due: the truth has moved away from what is shown, and a frame would mend it.
    ///
    /// What is shown too high is lowered. What is shown too low cannot be raised without a reason: it is stopped, and
    /// waits for the truth.
    public func isFrameDue(truth: Int, at milliseconds: UInt32) -> Bool {
        // Stopped for good: it moves again when the truth is there.
        if rate == 0, wasTooLow { return truth <= value(at: milliseconds) }
        let error = exact(at: milliseconds) - Float(truth)
        guard isAway(error, truth, at: milliseconds) else { return false }
        return error > 0 || isFalling(at: milliseconds)
    }

    /// The rate to tell with a frame, which is the line's own but where the line does not keep to it: what is too low
    /// once more, although it was stopped and the truth had as far to come as that was wrong, stands until the truth is
    /// there. Or each frame would let it fall a little further.
    public func rate(toTell rate: Double, truth: Int, at milliseconds: UInt32) -> Double {
        let error = exact(at: milliseconds) - Float(truth)
        return wasTooLow && error < 0 && isAway(error, truth, at: milliseconds) ? 0 : rate
    }

    private func isAway(_ error: Float, _ truth: Int, at milliseconds: UInt32) -> Bool {
        truth <= ShownPosition.exactUpTo ? value(at: milliseconds) != truth : abs(error) > ShownPosition.bound(Float(truth))
    }
}
