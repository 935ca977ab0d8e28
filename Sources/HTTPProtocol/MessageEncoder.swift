public import HTTPTypes

/// Writes messages of HTTP/1.1 (RFC 9112 §2.1).
public enum MessageEncoder {
    /// A response with its content. `Content-Length` is added where the status allows content (RFC 9110 §8.6).
    ///
    /// - Parameter head: true when the request was HEAD: the length is told, the content is not sent.
    public static func encode(_ response: HTTPResponse, body: [UInt8] = [], head: Bool = false, into bytes: inout [UInt8]) {
        bytes.append(contentsOf: "HTTP/1.1 \(response.status.code) \(response.status.reasonPhrase)\r\n".utf8)
        let code = response.status.code
        let mayHaveContent = code >= 200 && code != 204 && code != 304
        append(response.headerFields, to: &bytes)
        if mayHaveContent, !response.headerFields.contains(.transferEncoding) {
            bytes.append(contentsOf: "Content-Length: \(body.count)\r\n".utf8)
        }
        bytes.append(contentsOf: [0x0D, 0x0A])
        if mayHaveContent, !head { bytes.append(contentsOf: body) }
    }

    /// A request with its content.
    public static func encode(_ request: HTTPRequest, body: [UInt8] = [], into bytes: inout [UInt8]) {
        bytes.append(contentsOf: "\(request.method.rawValue) \(request.path ?? "/") HTTP/1.1\r\n".utf8)
        bytes.append(contentsOf: "Host: \(request.authority ?? "")\r\n".utf8)
        append(request.headerFields, to: &bytes)
        if !body.isEmpty || request.method == .post || request.method == .put || request.method == .patch {
            bytes.append(contentsOf: "Content-Length: \(body.count)\r\n".utf8)
        }
        bytes.append(contentsOf: [0x0D, 0x0A])
        bytes.append(contentsOf: body)
    }

    private static func append(_ fields: HTTPFields, to bytes: inout [UInt8]) {
        for field in fields {
            bytes.append(contentsOf: field.name.rawName.utf8)
            bytes.append(contentsOf: [0x3A, 0x20])
            bytes.append(contentsOf: field.value.utf8)
            bytes.append(contentsOf: [0x0D, 0x0A])
        }
    }
}
