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
        WebFile(paths: ["/q/{slug}", "/q/{slug}/"], type: html, bytes: PackageResources.visitor_html),
        WebFile(paths: ["/console", "/console/"], type: html, bytes: PackageResources.console_html),
        WebFile(paths: ["/console/load", "/console/load/"], type: html, bytes: PackageResources.charts_html),
        WebFile(paths: ["/assets/icon.svg"], type: "image/svg+xml", bytes: PackageResources.icon_svg),
        WebFile(paths: ["/assets/style.css"], type: style, bytes: PackageResources.style_css),
        WebFile(paths: ["/assets/charts.css"], type: style, bytes: PackageResources.charts_css),
        WebFile(paths: ["/assets/display.js"], type: script, bytes: PackageResources.display_js),
        WebFile(paths: ["/assets/queue-client.js"], type: script, bytes: PackageResources.queue_client_js),
        WebFile(paths: ["/assets/queue-position.js"], type: script, bytes: PackageResources.queue_position_js),
        WebFile(paths: ["/assets/visitor.js"], type: script, bytes: PackageResources.visitor_js),
        WebFile(paths: ["/assets/console.js"], type: script, bytes: PackageResources.console_js),
        WebFile(paths: ["/assets/operator.js"], type: script, bytes: PackageResources.operator_js),
        WebFile(paths: ["/assets/charts.js"], type: script, bytes: PackageResources.charts_js),
    ]

    private static let html = "text/html; charset=utf-8"
    private static let script = "text/javascript; charset=utf-8"
    private static let style = "text/css; charset=utf-8"
}
