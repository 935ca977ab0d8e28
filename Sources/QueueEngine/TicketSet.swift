/// A set of ticket numbers that can rank: one bit a number, and counts of bits in a Fenwick tree over blocks of 512.
///
/// A rank is a walk of about eleven counts and at most eight popcounts for a million numbers, which take about 135 kB.
/// Blocks in front that have become empty are given back as the set grows at its end.
public struct TicketSet: Sendable {
    private static let wordsPerBlock = 8
    private static let bitsPerBlock = 512

    /// The number that bit 0 stands for; a multiple of a block.
    private var base: UInt64 = 0
    private var words: [UInt64] = []
    /// Fenwick (1994): `tree[i - 1]` counts the blocks `i - lowbit(i) + 1 … i`.
    private var tree: [UInt32] = []
    public private(set) var count = 0

    public init() {}

    public var isEmpty: Bool { count == 0 }
    /// Bytes of storage: what the index costs.
    public var storageBytes: Int { words.capacity * 8 + tree.capacity * 4 }

    public func contains(_ number: UInt64) -> Bool {
        guard let bit = bit(number) else { return false }
        return words[bit >> 6] >> UInt64(bit & 63) & 1 == 1
    }

    /// Adds a number; false where it was there already.
    @discardableResult
    public mutating func insert(_ number: UInt64) -> Bool {
        if words.isEmpty { base = number & ~UInt64(TicketSet.bitsPerBlock - 1) }
        if number < base { extendFront(to: number) }
        while number >= base + UInt64(words.count) * 64 { appendBlock() }
        let bit = Int(number - base)
        let mask = UInt64(1) << UInt64(bit & 63)
        guard words[bit >> 6] & mask == 0 else { return false }
        words[bit >> 6] |= mask
        count += 1
        adjust(block: bit / TicketSet.bitsPerBlock, by: 1)
        return true
    }

    /// Takes a number out; false where it was not there.
    @discardableResult
    public mutating func remove(_ number: UInt64) -> Bool {
        guard let bit = bit(number) else { return false }
        let mask = UInt64(1) << UInt64(bit & 63)
        guard words[bit >> 6] & mask != 0 else { return false }
        words[bit >> 6] &= ~mask
        count -= 1
        adjust(block: bit / TicketSet.bitsPerBlock, by: -1)
        if count == 0 { (words, tree) = ([], []) }
        return true
    }

    /// How many members are smaller than `number`.
    public func rank(_ number: UInt64) -> Int {
        guard number > base else { return 0 }
        guard number < base + UInt64(words.count) * 64 else { return count }
        let bit = Int(number - base)
        var block = bit / TicketSet.bitsPerBlock
        var word = block * TicketSet.wordsPerBlock
        var rank = 0
        while block > 0 {
            rank += Int(tree[block - 1])
            block &= block - 1
        }
        while word < bit >> 6 {
            rank += words[word].nonzeroBitCount
            word += 1
        }
        return rank + (words[word] & (1 << UInt64(bit & 63) - 1)).nonzeroBitCount
    }

    /// The member with `index` smaller ones; nil where there are not so many.
    public func select(_ index: Int) -> UInt64? {
        guard index >= 0, index < count else { return nil }
        var rest = index
        var block = 0
        var step = 1 << (Int.bitWidth - 1 - tree.count.leadingZeroBitCount)
        while step > 0 {
            if block + step <= tree.count, Int(tree[block + step - 1]) <= rest {
                block += step
                rest -= Int(tree[block - 1])
            }
            step >>= 1
        }
        var word = block * TicketSet.wordsPerBlock
        while case let bits = words[word].nonzeroBitCount, bits <= rest {
            rest -= bits
            word += 1
        }
        return base + UInt64(word) * 64 + UInt64(TicketSet.select(rest, in: words[word]))
    }

    /// The smallest member that is not in `other`.
    public func first(notIn other: TicketSet) -> UInt64? {
        guard let smallest = select(0) else { return nil }
        var word = Int(smallest - base) >> 6
        while word < words.count {
            let bits = words[word] & ~other.word(at: base + UInt64(word) * 64)
            if bits != 0 { return base + UInt64(word) * 64 + UInt64(bits.trailingZeroBitCount) }
            word += 1
        }
        return nil
    }

    /// Calls `body` with each member in ascending order.
    public func forEach(_ body: (UInt64) -> Void) {
        _ = first {
            body($0)
            return false
        }
    }

    /// The smallest member of which `isWanted` is true; asked in ascending order.
    public func first(where isWanted: (UInt64) -> Bool) -> UInt64? {
        for (index, word) in words.enumerated() {
            var bits = word
            while bits != 0 {
                let number = base + UInt64(index) * 64 + UInt64(bits.trailingZeroBitCount)
                if isWanted(number) { return number }
                bits &= bits - 1
            }
        }
        return nil
    }

    // MARK: Inside

    /// The 64 bits from `number`, a multiple of 64.
    private func word(at number: UInt64) -> UInt64 {
        guard number >= base, number < base + UInt64(words.count) * 64 else { return 0 }
        return words[Int(number - base) >> 6]
    }

    private func bit(_ number: UInt64) -> Int? {
        guard number >= base, number < base + UInt64(words.count) * 64 else { return nil }
        return Int(number - base)
    }

    private mutating func adjust(block: Int, by change: Int32) {
        var index = block + 1
        while index <= tree.count {
            tree[index - 1] = UInt32(bitPattern: Int32(bitPattern: tree[index - 1]) + change)
            index += index & -index
        }
    }

    private mutating func appendBlock() {
        if words.count == words.capacity { makeRoom() }
        words.append(contentsOf: repeatElement(0, count: TicketSet.wordsPerBlock))
        // The new node covers itself, which is empty, and the nodes that end just before it.
        let index = tree.count + 1
        var sum: UInt32 = 0
        var child = index - 1
        while child > index - (index & -index) {
            sum += tree[child - 1]
            child &= child - 1
        }
        tree.append(sum)
    }

    /// Gives back empty blocks in front where they are at least half, otherwise grows by an eighth, not by doubling.
    private mutating func makeRoom() {
        if let smallest = select(0) {
            let emptyBlocks = Int(smallest - base) / TicketSet.bitsPerBlock
            if emptyBlocks * TicketSet.wordsPerBlock * 2 >= words.count {
                words.removeFirst(emptyBlocks * TicketSet.wordsPerBlock)
                base += UInt64(emptyBlocks * TicketSet.bitsPerBlock)
                rebuildTree()
                return
            }
        }
        words.reserveCapacity(words.count + max(8 * TicketSet.wordsPerBlock, words.count / 8))
        tree.reserveCapacity(words.capacity / TicketSet.wordsPerBlock)
    }

    private mutating func extendFront(to number: UInt64) {
        let newBase = number & ~UInt64(TicketSet.bitsPerBlock - 1)
        words.insert(contentsOf: repeatElement(0, count: Int(base - newBase) >> 6), at: 0)
        base = newBase
        rebuildTree()
    }

    private mutating func rebuildTree() {
        tree = (0..<words.count / TicketSet.wordsPerBlock).map { block in
            (0..<TicketSet.wordsPerBlock).reduce(0) { $0 + UInt32(words[block * TicketSet.wordsPerBlock + $1].nonzeroBitCount) }
        }
        for index in stride(from: 1, through: tree.count, by: 1) where index + (index & -index) <= tree.count {
            tree[index + (index & -index) - 1] += tree[index - 1]
        }
    }

    /// The position of the set bit with `index` set bits below it: halving, six steps.
    private static func select(_ index: Int, in word: UInt64) -> Int {
        var (rest, position, width) = (index, 0, 32)
        while width > 0 {
            let low = (word >> UInt64(position) & (1 << UInt64(width) - 1)).nonzeroBitCount
            if low <= rest {
                rest -= low
                position += width
            }
            width >>= 1
        }
        return position
    }
}

extension TicketSet: Equatable {
    /// The same members, however they came to be stored.
    public static func == (a: TicketSet, b: TicketSet) -> Bool {
        guard a.count == b.count else { return false }
        for index in a.words.indices where a.words[index] != b.word(at: a.base + UInt64(index) * 64) { return false }
        return true
    }
}
