/// What two peers agreed on for permessage-deflate (RFC 7692 §7.1).
public struct DeflateParameters: Sendable, Hashable {
    /// The server forgets each message before it compresses the next (§7.1.1.1).
    public var serverNoContextTakeover = false
    /// The client does (§7.1.1.2).
    public var clientNoContextTakeover = false
    /// The base-2 logarithm of the server's LZ77 window, 8 to 15 (§7.1.2.1).
    public var serverMaxWindowBits: UInt8 = 15
    /// The same of the client's (§7.1.2.2).
    public var clientMaxWindowBits: UInt8 = 15

    public init() {}

    static let extensionName = "permessage-deflate"

    /// The value of `Sec-WebSocket-Extensions` that says so.
    public var header: String {
        var text = DeflateParameters.extensionName
        if serverNoContextTakeover { text += "; server_no_context_takeover" }
        if clientNoContextTakeover { text += "; client_no_context_takeover" }
        if serverMaxWindowBits < 15 { text += "; server_max_window_bits=\(serverMaxWindowBits)" }
        if clientMaxWindowBits < 15 { text += "; client_max_window_bits=\(clientMaxWindowBits)" }
        return text
    }
}

/// How a side compresses, and what it asks of its peer.
public struct DeflatePolicy: Sendable {
    /// Whether a connection keeps the window of what it sent, and of what it received: up to 300 kB each, for better
    /// compression of messages that are alike. Without, a connection keeps nothing.
    public var keepsContext = false
    /// The largest windows to use, 8 to 15.
    public var serverMaxWindowBits: UInt8 = 15
    public var clientMaxWindowBits: UInt8 = 15
    /// Smaller messages are sent as they are, in bytes.
    public var minimumBytes = 256

    public init() {}
}

extension DeflatePolicy {
    /// The server's answer to the offers of a client, the first of which that can be accepted is; nil where none can.
    ///
    /// An offer with a parameter that is unknown, doubled or has a wrong value is declined (RFC 7692 §7.1), which is
    /// no error: the next one may do, or the connection goes on without compression.
    ///
    /// - Parameter values: the values of `Sec-WebSocket-Extensions`, in order.
    public func accept(_ values: [String]) -> DeflateParameters? {
        guard let offers = ExtensionOffer.parse(values) else { return nil }
        for offer in offers where offer.name == DeflateParameters.extensionName {
            if let accepted = accept(offer) { return accepted }
        }
        return nil
    }

    private func accept(_ offer: ExtensionOffer) -> DeflateParameters? {
        var accepted = DeflateParameters()
        accepted.serverNoContextTakeover = !keepsContext
        accepted.clientNoContextTakeover = !keepsContext
        accepted.serverMaxWindowBits = serverMaxWindowBits
        var seen: Set<String> = []
        for (name, value) in offer.parameters {
            guard seen.insert(name).inserted else { return nil }
            switch (name, value) {
            case ("server_no_context_takeover", nil): accepted.serverNoContextTakeover = true
            case ("client_no_context_takeover", nil): accepted.clientNoContextTakeover = true
            case ("server_max_window_bits", let value?):
                guard let bits = DeflatePolicy.windowBits(value) else { return nil }
                accepted.serverMaxWindowBits = min(serverMaxWindowBits, bits)
            // Only a client that names it can be asked for a smaller window (§7.1.2.2).
            case ("client_max_window_bits", nil): accepted.clientMaxWindowBits = clientMaxWindowBits
            case ("client_max_window_bits", let value?):
                guard let bits = DeflatePolicy.windowBits(value) else { return nil }
                accepted.clientMaxWindowBits = min(clientMaxWindowBits, bits)
            default: return nil
            }
        }
        return accepted
    }

    /// What a client offers.
    public var offer: String {
        var text = DeflateParameters.extensionName
        if !keepsContext { text += "; server_no_context_takeover; client_no_context_takeover" }
        if serverMaxWindowBits < 15 { text += "; server_max_window_bits=\(serverMaxWindowBits)" }
        return text + "; client_max_window_bits" + (clientMaxWindowBits < 15 ? "=\(clientMaxWindowBits)" : "")
    }

    /// What a server answered to `offer`; nil where it declined.
    ///
    /// - Throws: where the answer is none to that offer, upon which a client must fail the connection (RFC 7692 §5).
    public func confirm(_ values: [String]) throws(WebSocketError) -> DeflateParameters? {
        if values.isEmpty { return nil }
        guard let answers = ExtensionOffer.parse(values), answers.count == 1, answers[0].name == DeflateParameters.extensionName else {
            throw WebSocketError(.protocolError, "an extension that was not offered")
        }
        let wrong = WebSocketError(.protocolError, "a parameter that was not offered")
        var answer = DeflateParameters()
        var seen: Set<String> = []
        for (name, value) in answers[0].parameters {
            guard seen.insert(name).inserted else { throw wrong }
            switch (name, value) {
            case ("server_no_context_takeover", nil): answer.serverNoContextTakeover = true
            case ("client_no_context_takeover", nil): answer.clientNoContextTakeover = true
            case ("server_max_window_bits", let value?):
                guard let bits = DeflatePolicy.windowBits(value) else { throw wrong }
                answer.serverMaxWindowBits = bits
            case ("client_max_window_bits", let value?):
                guard let bits = DeflatePolicy.windowBits(value) else { throw wrong }
                answer.clientMaxWindowBits = bits
            default: throw wrong
            }
        }
        guard answer.serverMaxWindowBits <= serverMaxWindowBits, keepsContext || answer.serverNoContextTakeover else { throw wrong }
        return answer
    }

    /// A decimal number from 8 to 15 without leading zeros (RFC 7692 §7.1.2).
    private static func windowBits(_ text: String) -> UInt8? {
        guard let bits = UInt8(text), (8...15).contains(bits), text == String(bits) else { return nil }
        return bits
    }
}
