/// Takes the chunked transfer coding apart (RFC 9112 §7.1). Chunk extensions and trailer fields are checked and dropped.
struct ChunkedDecoder {
    private enum Phase { case size, data(Int), dataEnd, trailer, done }
    private var phase = Phase.size
    private var overhead = 0
    /// Bytes of the line that has begun that have been looked at.
    private var scanned = 0

    /// Chunk lines and trailers may cost as much as a header section.
    private static let overheadLimit = 16_384
    private static let sizeLineLimit = 256
    private static let trailerLineLimit = 1_024
    private static let mostReserved = 4_096

    /// Moves what it can from `input`, beginning at `position`, to `body`. Returns whether the body is complete.
    mutating func decode(_ input: [UInt8], _ position: inout Int, into body: inout [UInt8], limit: Int) throws(HTTPRefusal) -> Bool {
        while true {
            switch phase {
            case .size:
                guard let line = try takeLine(input, &position, limit: ChunkedDecoder.sizeLineLimit) else { return false }
                let size = try ChunkedDecoder.size(line)
                guard size <= limit - body.count else { throw .bodyTooLarge }
                phase = size == 0 ? .trailer : .data(size)
            case .data(let remaining):
                let count = min(remaining, input.count - position)
                guard count > 0 else { return false }
                // Little content gets its room at once: growing, it would take up to twice as much.
                if body.isEmpty { body.reserveCapacity(min(limit, ChunkedDecoder.mostReserved)) }
                body.append(contentsOf: input[position..<position + count])
                position += count
                phase = count == remaining ? .dataEnd : .data(remaining - count)
            case .dataEnd:
                guard input.count - position >= 1 else { return false }
                guard input[position] == 0x0D else { throw .malformed("a chunk longer than its size") }
                guard input.count - position >= 2 else { return false }
                guard input[position + 1] == 0x0A else { throw .malformed("a CR without LF") }
                position += 2
                phase = .size
            case .trailer:
                guard let line = try takeLine(input, &position, limit: ChunkedDecoder.trailerLineLimit) else { return false }
                if line.isEmpty {
                    phase = .done
                } else if line.firstIndex(of: 0x3A).map({ $0 == line.startIndex }) ?? true {
                    throw .malformed("a trailer field without a name")
                }
            case .done: return true
            }
        }
    }

    /// A line up to its CRLF; nil while it is incomplete.
    private mutating func takeLine(_ input: [UInt8], _ position: inout Int, limit: Int) throws(HTTPRefusal) -> ArraySlice<UInt8>? {
        var index = position + scanned
        defer { scanned = index - position }
        while index < input.count {
            switch input[index] {
            case 0x0D:
                guard index + 1 < input.count else { return nil }
                guard input[index + 1] == 0x0A else { throw .malformed("a CR without LF") }
                let line = input[position..<index]
                overhead += line.count + 2
                guard overhead <= ChunkedDecoder.overheadLimit else { throw .fieldsTooLarge }
                position = index + 2
                index = position
                return line
            case 0x0A: throw .malformed("a LF without CR")
            case 0..<0x20 where input[index] != 0x09, 0x7F: throw .malformed("a control character")
            default: index += 1
            }
            guard index - position <= limit else { throw .malformed("a line between chunks that is too long") }
        }
        return nil
    }

    /// `1*HEXDIG`, then perhaps `;` and extensions.
    private static func size(_ line: ArraySlice<UInt8>) throws(HTTPRefusal) -> Int {
        let digits = line.prefix { $0 != 0x3B }
        guard !digits.isEmpty, digits.count <= 15 else { throw .malformed("a chunk size that is not a plain number") }
        var size = 0
        for digit in digits {
            switch digit {
            case 0x30...0x39: size = size << 4 | Int(digit - 0x30)
            case 0x41...0x46: size = size << 4 | Int(digit - 0x37)
            case 0x61...0x66: size = size << 4 | Int(digit - 0x57)
            default: throw .malformed("a chunk size that is not a plain number")
            }
        }
        return size
    }
}
