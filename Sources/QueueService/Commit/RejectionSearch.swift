/// What a part of a batch may hold while something is looked for that the store refuses: commands or changes of presence,
/// and not both, so that nobody's command is refused for somebody else's presence.
struct RejectionSearch {
    private var commands = RejectionSearch.unlimited
    private var presence = RejectionSearch.unlimited
    private var isPresenceNext = true

    /// More than there is reason to look at apart.
    private static let unlimited = 1_000

    /// The store has refused a part with so many commands and changes of presence. Where both were in it, each is tried whole
    /// first.
    mutating func narrow(commands refused: Int, presence changes: Int) {
        isPresenceNext = refused > 0
        guard refused == 0 || changes == 0 else { return (commands, presence) = (refused, changes) }
        if refused > 0 { commands = max(1, refused / 2) } else { presence = max(1, changes / 2) }
    }

    /// After a commit of what was in the part: with twice as much of that; nil once nothing is limited any more. A commit of
    /// the one says nothing of the other.
    func widened(commands hadCommands: Bool, presence hadPresence: Bool) -> RejectionSearch? {
        var wider = self
        if hadCommands { wider.commands = min(2 * commands, RejectionSearch.unlimited) }
        if hadPresence { wider.presence = min(2 * presence, RejectionSearch.unlimited) }
        return min(wider.commands, wider.presence) < RejectionSearch.unlimited ? wider : nil
    }

    /// What is tried next, and what waits. Where there is both, they take turns.
    mutating func divide(_ part: Backlog.Part) -> (taken: Backlog.Part, left: Backlog.Part) {
        let takesPresence = part.commands.isEmpty || isPresenceNext && !part.presence.isEmpty
        isPresenceNext = !takesPresence
        var (taken, left) = (part, part)
        if takesPresence {
            taken.commands = []
            taken.presence = left.presence.take(presence)
        } else {
            taken.commands = Array(part.commands.prefix(commands))
            left.commands.removeFirst(taken.commands.count)
            taken.presence = PresenceChanges()
        }
        return (taken, left)
    }
}
