/// A page or an asset of one.
public struct WebFile: Sendable {
    /// Where a page is found, with places in braces for what may be anything; of an asset, its name under `/assets/`.
    public let paths: [String]
    /// Its media type.
    public let type: String
    public let bytes: [UInt8]

    public var isPage: Bool { type.hasPrefix("text/html") }
}

/// The browser's side, compiled into the program: pages, modules and styles, readable as they are.
public enum WebClient {
    public static let visitorPage = WebFile(paths: ["/q/{slug}", "/q/{slug}/"], type: html, bytes: PackageResources.visitor_html)

    public static let operatorPages: [WebFile] = [
        WebFile(paths: ["/"], type: html, bytes: PackageResources.index_html),
        WebFile(paths: ["/console", "/console/"], type: html, bytes: PackageResources.console_html),
        WebFile(paths: ["/console/load", "/console/load/"], type: html, bytes: PackageResources.charts_html),
    ]

    public static let assets: [WebFile] = [
        WebFile(paths: ["icon.svg"], type: "image/svg+xml", bytes: PackageResources.icon_svg),
        WebFile(paths: ["style.css"], type: style, bytes: PackageResources.style_css),
        WebFile(paths: ["charts.css"], type: style, bytes: PackageResources.charts_css),
        WebFile(paths: ["display.js"], type: script, bytes: PackageResources.display_js),
        WebFile(paths: ["polling.js"], type: script, bytes: PackageResources.polling_js),
        WebFile(paths: ["queue-client.js"], type: script, bytes: PackageResources.queue_client_js),
        WebFile(paths: ["queue-position.js"], type: script, bytes: PackageResources.queue_position_js),
        WebFile(paths: ["visitor.js"], type: script, bytes: visitorBundle),
        WebFile(paths: ["console.js"], type: script, bytes: PackageResources.console_js),
        WebFile(paths: ["operator.js"], type: script, bytes: PackageResources.operator_js),
        WebFile(paths: ["charts.js"], type: script, bytes: PackageResources.charts_js),
    ]

    private static let visitorBundle = bundle([
        PackageResources.display_js, PackageResources.polling_js, PackageResources.queue_client_js, PackageResources.queue_position_js,
        PackageResources.visitor_js,
    ])

    /// Modules as one, each behind those that it imports, without indentation and lines of comment: a page of one module is there after
    /// one request. No two of them may give the same name to something at their top level.
    private static func bundle(_ modules: [[UInt8]]) -> [UInt8] {
        let lines = modules.flatMap { $0.split(separator: UInt8(ascii: "\n")) }.map { $0.drop { $0 == 0x20 } }
        let own = lines.filter { line in !["import ", "//", "/*", "* ", "*/"].contains { line.starts(with: $0.utf8) } }
        return Array(own.map { $0.starts(with: "export ".utf8) ? $0.dropFirst(7) : $0 }.joined(separator: [UInt8(ascii: "\n")]))
    }

    private static let html = "text/html; charset=utf-8"
    private static let script = "text/javascript; charset=utf-8"
    private static let style = "text/css; charset=utf-8"
}
