/// A file that is served as it is.
public struct WebFile: Sendable {
    /// Where it is found. Places in braces stand for anything.
    public let paths: [String]
    /// Its media type.
    public let type: String
    public let bytes: [UInt8]
}

/// The browser's side, compiled into the program: pages, modules and styles without a build step.
public enum WebClient {
    public static let files: [WebFile] = [
        WebFile(paths: ["/"], type: html, bytes: PackageResources.index_html),
    ]

    private static let html = "text/html; charset=utf-8"
    private static let script = "text/javascript; charset=utf-8"
    private static let style = "text/css; charset=utf-8"
}
