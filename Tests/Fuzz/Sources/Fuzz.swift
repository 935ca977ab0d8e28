import Foundation

/// The entry point that libFuzzer calls. `FUZZ_TARGET` says which parser it feeds.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}

private let target: @Sendable ([UInt8]) -> Void = {
    switch ProcessInfo.processInfo.environment["FUZZ_TARGET"] {
    case "http": return fuzzHTTP
    case "websocket": return fuzzWebSocket
    case "inflate": return fuzzInflate
    case "json": return fuzzJSON
    case "token": return fuzzToken
    case "proxy": return fuzzProxy
    case "bus": return fuzzBus
    case "redis": return fuzzRedis
    default: fatalError("FUZZ_TARGET must be one of http, websocket, inflate, json, token, proxy, bus, redis")
    }
}()

/// What must hold for every input.
func require(_ condition: Bool, _ what: @autoclosure () -> String) {
    if !condition { fatalError(what()) }
}

/// The input in pieces: whole, byte by byte, and cut once at a place that the input itself chooses.
func splits(_ bytes: [UInt8]) -> [[[UInt8]]] {
    guard bytes.count > 1 else { return [[bytes]] }
    let cut = 1 + bytes.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF } % (bytes.count - 1)
    return [[bytes], bytes.map { [$0] }, [Array(bytes[..<cut]), Array(bytes[cut...])]]
}

/// All splits must come to the same.
func requireSame<R: Equatable>(_ bytes: [UInt8], _ run: ([[UInt8]]) -> R) {
    let all = splits(bytes).map(run)
    require(all.allSatisfy { $0 == all[0] }, "the split of the bytes changes what they mean: \(all)")
}
