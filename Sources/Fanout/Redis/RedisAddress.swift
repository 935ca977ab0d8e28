import Foundation

/// Where Redis is, and how to be let in.
///
/// - `redis://user:password@host:6379/0`: one server, its database only a part of the names.
/// - `redis://a:6379,b:6379,c:6379`: a cluster, by some of its nodes.
/// - `redis+sentinel://a:26379,b:26379/name/0`: whichever server the sentinels say is `name`'s master.
///
/// `?prefix=` before all names, `stanchion` otherwise. `?sentinel-password=` where the sentinels have another one.
public struct RedisAddress: Sendable, Hashable, CustomStringConvertible {
    public struct Malformed: Error, Sendable {
        public let reason: String
    }

    struct Host: Sendable, Hashable, CustomStringConvertible {
        let name: String
        let port: UInt16
        var description: String { name.contains(":") ? "[\(name)]:\(port)" : "\(name):\(port)" }
    }

    enum Kind: Sendable, Hashable {
        case single
        case cluster
        case sentinel(master: String)
    }

    struct Credentials: Sendable, Hashable {
        var user: String?
        var password: String
    }

    let kind: Kind
    let hosts: [Host]
    let credentials: Credentials?
    let sentinelCredentials: Credentials?
    let database: Int
    let prefix: String

    public init(_ text: String) throws(Malformed) {
        guard let start = text.range(of: "://"), ["redis", "redis+sentinel"].contains(text[..<start.lowerBound]) else {
            throw Malformed(
                reason: text.hasPrefix("rediss:")
                    ? "TLS to Redis is not spoken: let a proxy on this machine do it" : "it must begin with redis:// or redis+sentinel://")
        }
        let isSentinel = text.hasPrefix("redis+sentinel")
        var rest = text[start.upperBound...]
        var options: [Substring: String] = [:]
        if let mark = rest.firstIndex(of: "?") {
            for option in rest[rest.index(after: mark)...].split(separator: "&") {
                let parts = option.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, ["prefix", "sentinel-password"].contains(parts[0]) else {
                    // Not what was read: behind a ? that is not encoded it is a part of the password.
                    throw Malformed(reason: "behind a ? may stand prefix= and sentinel-password=; a ? in a password is written %3F")
                }
                options[parts[0]] = try RedisAddress.decode(parts[1])
            }
            rest = rest[..<mark]
        }
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw Malformed(reason: "before the @ must stand user:password, or :password") }
            let user = try RedisAddress.decode(parts[0])
            credentials = Credentials(user: user.isEmpty ? nil : user, password: try RedisAddress.decode(parts[1]))
            rest = rest[rest.index(after: at)...]
        } else {
            credentials = nil
        }
        sentinelCredentials = options["sentinel-password"].map { Credentials(user: nil, password: $0) }
        var path = rest.split(separator: "/", omittingEmptySubsequences: false)
        let names = path.removeFirst()
        hosts = try names.split(separator: ",", omittingEmptySubsequences: false).map { part throws(Malformed) in
            try RedisAddress.host(part, port: isSentinel ? 26_379 : 6_379)
        }
        if isSentinel {
            guard let master = path.first, !master.isEmpty else {
                throw Malformed(reason: "behind the sentinels' hosts must stand the name of what they watch")
            }
            kind = .sentinel(master: try RedisAddress.decode(master))
            path.removeFirst()
        } else {
            kind = hosts.count > 1 ? .cluster : .single
        }
        let number = path.first.map { $0.isEmpty ? 0 : Int($0) ?? -1 } ?? 0
        guard path.count <= 1, (0...65_535).contains(number) else {
            throw Malformed(reason: "behind the host may stand the number of a database")
        }
        guard number == 0 || kind != .cluster else { throw Malformed(reason: "a cluster has one database") }
        database = number
        prefix = options["prefix"] ?? "stanchion"
    }

    private static func host(_ text: Substring, port: UInt16) throws(Malformed) -> Host {
        var name = text
        var number = port
        if let colon = text.lastIndex(of: ":"), !text[colon...].contains("]") {
            guard let given = UInt16(text[text.index(after: colon)...]), given > 0 else {
                throw Malformed(reason: "a host has a port that is none; a user and password end with an @")
            }
            (name, number) = (text[..<colon], given)
        }
        if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
        guard !name.isEmpty else { throw Malformed(reason: "a host has no name") }
        return Host(name: String(name), port: number)
    }

    private static func decode(_ text: Substring) throws(Malformed) -> String {
        guard let decoded = String(text).removingPercentEncoding else { throw Malformed(reason: "a % in it must be written %25") }
        return decoded
    }

    /// Pub/sub knows no databases: the number is a part of the name.
    var channel: String { "\(prefix):\(database):v1" }

    /// For messages: without passwords.
    public var description: String {
        let names = hosts.map(\.description).joined(separator: ",")
        if case .sentinel(let master) = kind { return "\(master) by \(names)" }
        return names
    }
}
