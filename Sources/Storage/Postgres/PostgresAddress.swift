import CPostgres
import Dispatch
import EventLoop

/// A server's address as libpq's parameters, from a connection URI
/// (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING).
struct PostgresAddress: Sendable {
    /// Why a URI is none, or none for what it is for.
    struct Malformed: Error { let reason: String }

    /// Of several hosts a home must be one that can be written, also after another one has taken its place.
    enum Purpose { case home, reading }

    private let parameters: [(name: String, value: String)]

    init(uri: String, for purpose: Purpose = .home) throws(Malformed) {
        var reason: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(uri, &reason) else {
            defer { PQfreemem(reason) }
            let words = PostgresError.line(reason)
            // With a quote in the address nobody can tell where a quotation ends.
            throw Malformed(reason: uri.contains("\"") ? "it is no connection URI" : PostgresAddress.withoutQuotations(words))
        }
        defer { PQconninfoFree(options) }
        var parameters: [(String, String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { parameters.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        try PostgresAddress.checkHosts(parameters)
        if purpose == .home {
            let wanted = parameters.first { $0.0 == "target_session_attrs" }?.1
            guard ["any", "read-write", "primary"].contains(wanted ?? "any") else {
                throw Malformed(reason: "target_session_attrs is \(wanted!), and what is served from must be written")
            }
            if wanted == nil { parameters.append(("target_session_attrs", "read-write")) }
        }
        self.parameters = parameters
    }

    /// libpq quotes what it does not understand, and where a sign of a password is not encoded that is a part of the password.
    private static func withoutQuotations(_ reason: String) -> String {
        // The name of a parameter, which stands behind the password.
        if reason.hasPrefix("invalid URI query parameter:") { return reason }
        return reason.split(separator: "\"", omittingEmptySubsequences: false).enumerated().map { $0.offset % 2 == 0 ? $0.element : "…" }
            .joined(separator: "\"")
    }

    /// Finds what a password with an `@`, `/` or `?` that is not encoded leaves in the host and the port, before a message shows it.
    private static func checkHosts(_ parameters: [(name: String, value: String)]) throws(Malformed) {
        func parts(_ name: String) -> [Substring] { parameters.filter { $0.name == name }.flatMap { $0.value.split(separator: ",") } }
        // A socket's folder may have an @ in its name, and the name of an abstract one begins with it.
        guard parts("host").allSatisfy({ $0.hasPrefix("/") || !$0.dropFirst().contains("@") }),
            parts("port").allSatisfy({ UInt16($0) != nil })
        else {
            throw Malformed(
                reason: "it names no host and port; in a password @ is written %40, / %2F, : %3A, ? %3F, # %23 and % %25")
        }
    }

    private func value(_ name: String) -> String? { parameters.first { $0.name == name }?.value }

    /// What is said of it in messages: without the password.
    var description: String { "\(value("host") ?? "the local server")/\(value("dbname") ?? value("user") ?? "")" }

    /// Sets what is not set.
    private func filled(_ defaults: [(String, String)]) -> [(String, String)] {
        parameters.map { ($0.name, $0.value) } + defaults.filter { value($0.0) == nil }
    }

    /// The parameters of each attempt to connect, one an address, names resolved: libpq would resolve them itself and
    /// block meanwhile. Calls back on any thread.
    func resolve(_ defaults: [(String, String)], _ resolved: @escaping @Sendable ([[(String, String)]]) -> Void) {
        let all = filled(defaults)
        let hosts = (value("host") ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let ports = (value("port") ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        // What libpq is to make of these, it says itself.
        guard value("hostaddr") == nil, ports.count == 1 || ports.count == hosts.count else { return resolved([all]) }
        let targets = hosts.enumerated().map { index, host in (host: host, port: ports.count == 1 ? ports[0] : ports[index]) }
        let rest = all.filter { !["host", "port"].contains($0.0) }
        @Sendable func attempt(_ host: String, _ port: String, _ address: String?) -> [(String, String)] {
            rest + [("host", host), ("port", port)] + (address.map { [("hostaddr", $0)] } ?? [])
        }
        guard targets.contains(where: { PostgresAddress.isName($0.host) }) else {
            return resolved(targets.map { attempt($0.host, $0.port, nil) })
        }
        DispatchQueue.global().async {
            resolved(
                targets.flatMap { target in
                    guard PostgresAddress.isName(target.host) else { return [attempt(target.host, target.port, nil)] }
                    let found = HostLookup.blockingLookUp(target.host, port: 0)
                    // A name without an address stands for one: as such libpq refuses it in its words, and does not look it up again.
                    return (found.isEmpty ? [target.host] : found.map(\.hostText)).map { attempt(target.host, target.port, $0) }
                })
        }
    }

    /// Neither nothing (the default), nor a folder with a socket, nor a number.
    private static func isName(_ host: String) -> Bool {
        !host.isEmpty && !host.hasPrefix("/") && !host.hasPrefix("@") && !HostLookup.isNumber(host)
    }
}
