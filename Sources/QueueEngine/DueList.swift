import DequeModule

/// What comes due, in the order in which it does; equals in the order in which they came.
///
/// Copies share storage, and one that changes copies a chunk and the list of chunks, not all: a queue's state is copied
/// with each decision, and there may be as many absences and admissions that will end as people. Adding at the end and
/// taking from the front, which is nearly all that happens, cost the same however long the list is, but for a word for
/// each chunk after a copy.
struct DueList<Element: Comparable & Sendable>: Sendable {
    private typealias Chunk = ContiguousArray<Element>
    private static var chunkSize: Int { 256 }

    /// None is empty.
    private var chunks = Deque<Chunk>()
    /// How many of the first chunk have been taken.
    private var taken = 0

    var first: Element? { chunks.first?[taken] }

    mutating func insert(_ element: Element) {
        // The last chunk that begins before it, or at it.
        var index = chunks.count - 1
        while index > 0, element < chunks[index][0] { index -= 1 }
        guard index >= 0 else { return chunks.append([element]) }
        let place = place(of: element, in: index)
        if index == chunks.count - 1, place == chunks[index].count, place >= Self.chunkSize { return chunks.append([element]) }
        chunks[index].insert(element, at: place)
        if index == 0 { forgetTaken() }
        if chunks[index].count > 2 * Self.chunkSize { split(index) }
    }

    /// Behind all that are not greater.
    private func place(of element: Element, in index: Int) -> Int {
        let chunk = chunks[index]
        var (low, high) = (index == 0 ? taken : 0, chunk.count)
        if let last = chunk.last, !(element < last) { return high }
        while low < high {
            let middle = (low + high) / 2
            if element < chunk[middle] { high = middle } else { low = middle + 1 }
        }
        return low
    }

    private mutating func forgetTaken() {
        chunks[0].removeFirst(taken)
        taken = 0
    }

    private mutating func split(_ index: Int) {
        let half = Chunk(chunks[index][Self.chunkSize...])
        chunks[index].removeSubrange(Self.chunkSize...)
        chunks.insert(half, at: index + 1)
    }

    /// The first in other words, and as due as before.
    mutating func replaceFirst(_ element: Element) { chunks[0][taken] = element }

    /// Removes all that match; visits each element.
    mutating func removeAll(where isRemoved: (Element) -> Bool) {
        var rest = DueList()
        for (index, chunk) in chunks.enumerated() {
            for element in chunk.dropFirst(index == 0 ? taken : 0) where !isRemoved(element) { rest.insert(element) }
        }
        self = rest
    }

    mutating func removeFirst() {
        taken += 1
        guard taken == chunks[0].count else { return }
        chunks.removeFirst()
        taken = 0
    }
}
