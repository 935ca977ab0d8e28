import Foundation

/// The report as one page that needs nothing else: tables, and charts drawn as SVG.
extension LoadReport {
    public var html: String {
        """
        <!doctype html>
        <html lang="en"><meta charset="utf-8"><title>Load test: \(escaped(scenario.name))</title>
        <style>
        body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
        table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
        td, th { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #d9dee6 }
        td:first-child, th:first-child { text-align: left }
        .missed { color: #b3261e; font-weight: 600 } .met { color: #1b6e3c }
        svg { width: 100%; height: auto; background: #f7f8fa } svg text { font: 11px system-ui, sans-serif; fill: #55606e }
        </style>
        <h1>Load test: \(escaped(scenario.name)), \(Int(scenario.users)) people</h1>
        <p>\(Int(scenario.durationSeconds)) s, the first \(Int(scenario.rampSeconds)) of them while people came.\
        \(isInterrupted ? " <strong class=missed>Ended before its time.</strong>" : "")
        Times run from the moment at which something was planned.</p>
        \(verdictTable)
        \(operationTable)
        \(chart("Response time, milliseconds", [("p50", { $0.p50 * 1_000 }), ("p95", { $0.p95 * 1_000 }), ("p99", { $0.p99 * 1_000 })]))
        \(chart("Operations a second", [("succeeded", { Double($0.operations) }), ("failed", { Double($0.errors) })]))
        \(chart("People", [("people", { Double($0.users) })]))
        \(chart("Positions pushed a second", [("frames", { Double($0.frames) })]))
        <p>\(heldText)\(mostUsers) people at most, \(admitted) let in, \(eventsFollowed) events followed, \(eventsMissing) of them missed.\
        \(server.map { String(format: " The server used %.2f processors and %.0f MB.", $0.cores, $0.mostResidentBytes / 1e6) } ?? "")</p>
        </html>
        """
    }

    private var heldText: String {
        held.map { String(format: "People held: %.0f at least, %.1f in the mean, %.0f at most. ", $0.minimum, $0.mean, $0.maximum) } ?? ""
    }

    private var verdictTable: String {
        let rows = verdicts.map { verdict in
            "<tr><td>\(escaped(verdict.what))<td>\(number(verdict.measured))<td>\(number(verdict.limit))"
                + "<td class=\(verdict.isMet ? "met>met" : "missed>missed")"
        }
        return "<table><tr><th>asked for<th>measured<th>at most<th>\n\(rows.joined(separator: "\n"))\n</table>"
    }

    private var operationTable: String {
        let rows = operations.map { operation in
            let errors = operation.errors.sorted { $0.key < $1.key }.map { "\($0.value) × \(escaped($0.key))" }.joined(separator: ", ")
            let times = [operation.p50, operation.p95, operation.p99, operation.highest].map { "<td>\(number($0 * 1_000))" }.joined()
            return "<tr><td>\(operation.name)<td>\(operation.count)<td>\(errors.isEmpty ? "0" : errors)\(times)"
        }
        return """
            <table><tr><th>milliseconds<th>count<th>errors<th>p50<th>p95<th>p99<th>highest
            \(rows.joined(separator: "\n"))
            </table>
            """
    }

    private static let colours = ["#2d6cdf", "#d9822b", "#b3261e"]

    /// Lines over the seconds of the test, no more points than can be seen: the highest of each span.
    private func chart(_ title: String, _ series: [(name: String, value: (Second) -> Double)]) -> String {
        guard let last = seconds.last else { return "" }
        let (width, height, left, bottom) = (900.0, 220.0, 60.0, 24.0)
        let span = max(1, seconds.count / 450)
        let points = stride(from: 0, to: seconds.count, by: span).map { seconds[$0..<min($0 + span, seconds.count)] }
        let top = max(1e-9, seconds.flatMap { second in series.map { $0.value(second) } }.max()!)
        let lines = series.enumerated().map { index, series in
            let line = points.map { part in
                let x = left + (width - left - 10) * part.last!.second / last.second
                let y = 10 + (height - bottom - 10) * (1 - part.map(series.value).max()! / top)
                return String(format: "%.1f,%.1f", x, y)
            }
            let colour = LoadReport.colours[index]
            return """
                <polyline fill="none" stroke="\(colour)" stroke-width="1.5" points="\(line.joined(separator: " "))"/>
                <text x="\(left + 10 + Double(index) * 90)" y="22" style="fill:\(colour)">\(series.name)</text>
                """
        }
        return """
            <h2>\(title)</h2>
            <svg viewBox="0 0 \(Int(width)) \(Int(height))" role="img" aria-label="\(title)">
            <text x="4" y="18">\(number(top))</text><text x="4" y="\(height - bottom)">0</text>
            <text x="\(left)" y="\(height - 6)">0 s</text><text x="\(width - 60)" y="\(height - 6)">\(Int(last.second)) s</text>
            \(lines.joined(separator: "\n"))
            </svg>
            """
    }

    private func number(_ value: Double) -> String { String(format: value.magnitude < 100 ? "%.3g" : "%.0f", value) }

    private func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing("\"", with: "&quot;")
    }
}
