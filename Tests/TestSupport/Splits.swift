/// Every way of cutting bytes into two, the bytes one by one, and some random cuts.
public func splits(of bytes: [UInt8], seed: UInt64 = 1) -> [[[UInt8]]] {
    var all: [[[UInt8]]] = [[bytes], bytes.map { [$0] }]
    for cut in 1..<max(2, bytes.count) where cut < bytes.count { all.append([Array(bytes[..<cut]), Array(bytes[cut...])]) }
    var random = SeededRandom(seed: seed)
    for _ in 0..<20 {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...max(1, min(rest.count, 40)), using: &random)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        all.append(pieces)
    }
    return all
}
