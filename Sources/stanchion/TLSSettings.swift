import EventLoop

extension TLSContext.Files {
    /// Reads `--tls-cert` and `--tls-key`, as many of one as of the other. Nil where neither is given: plain.
    static func pairs(certificates: String?, keys: String?) throws -> [TLSContext.Files]? {
        let chains = (certificates ?? "").split(separator: ",").map(String.init)
        let keys = (keys ?? "").split(separator: ",").map(String.init)
        guard chains.count == keys.count else {
            throw Failure.setting(
                "tls-cert names \(chains.count) files and tls-key \(keys.count): each certificate needs its key, in the same order")
        }
        return chains.isEmpty ? nil : zip(chains, keys).map { TLSContext.Files(chain: $0, key: $1) }
    }
}
