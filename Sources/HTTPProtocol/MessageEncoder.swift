public import HTTPTypes

/// Writes messages of HTTP/1.1 (RFC 9112 §2.1).
public enum MessageEncoder {
    /// A response with its content. `Content-Length` is added where the status allows content (RFC 9110 §8.6).
    ///
    /// - Parameter head: true when the request was HEAD: the length is told, the content is not sent.
    public static func encode(_ response: HTTPResponse, body: [UInt8] = [], head: Bool = false, into bytes: inout [UInt8]) {
        bytes.reserveCapacity(bytes.count + body.count + usualHeadSize)
        append("HTTP/1.1 ", "\(response.status.code)", " ", response.status.reasonPhrase, to: &bytes)
        let code = response.status.code
        let mayHaveContent = code >= 200 && code != 204 && code != 304
        append(response.headerFields, to: &bytes)
        if mayHaveContent, !response.headerFields.contains(.transferEncoding) { append("Content-Length: ", "\(body.count)", to: &bytes) }
        append(to: &bytes)
        if mayHaveContent, !head { bytes.append(contentsOf: body) }
    }

    /// A request with its content.
    public static func encode(_ request: HTTPRequest, body: [UInt8] = [], into bytes: inout [UInt8]) {
        bytes.reserveCapacity(bytes.count + body.count + usualHeadSize)
        append(request.method.rawValue, " ", request.path ?? "/", " HTTP/1.1", to: &bytes)
        append("Host: ", request.authority ?? "", to: &bytes)
        append(request.headerFields, to: &bytes)
        if !body.isEmpty || request.method == .post || request.method == .put || request.method == .patch {
            append("Content-Length: ", "\(body.count)", to: &bytes)
        }
        append(to: &bytes)
        bytes.append(contentsOf: body)
    }

    /// What a head mostly fits in: what is longer grows the array.
    private static let usualHeadSize = 512

    private static func append(_ fields: HTTPFields, to bytes: inout [UInt8]) {
        for field in fields { append(field.name.rawName, ": ", field.value, to: &bytes) }
    }

    /// One line.
    private static func append(_ parts: String..., to bytes: inout [UInt8]) {
        for part in parts { bytes.append(contentsOf: part.utf8) }
        bytes.append(0x0D)
        bytes.append(0x0A)
    }
}
