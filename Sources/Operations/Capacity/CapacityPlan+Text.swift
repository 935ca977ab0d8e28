import Foundation

/// A plan for people to read.
extension CapacityPlan {
    /// For people at a terminal.
    public var table: String {
        var lines = ["month      people  requests/min  processors  memory GB  network MB/s  events/s  instances  because of"]
        for row in rows {
            lines.append(
                String(
                    format: "%5.4g%12.0f%14.0f%12.2f%11.2f%14.2f%10.1f%11d  ", row.month, row.users, row.requestsPerMinute, row.processors,
                    row.memoryBytes / 1e9, row.networkBytesPerSecond / 1e6, row.eventsPerSecond, row.instances) + row.limit.rawValue)
        }
        lines += ["", "month  Postgres GB/month  processors in use  to have  max_connections  Redis kB/s  MB  connections"]
        for row in rows {
            lines.append(
                String(
                    format: "%5.4g%19.1f%19.2f%9.0f%17d%12.1f%4.0f%13d", row.month, row.storageBytesPerMonth / 1e9, row.databaseProcessors,
                    row.databaseProcessorsNeeded, row.databaseConnections, row.busBytesPerSecond / 1e3, row.redisBytes / 1e6,
                    row.redisConnections))
        }
        lines += ["", assumptions]
        if let monthsUntilThen {
            lines.append(
                String(format: "With the instances of today %@ run out first, in %.1f months.", firstToRunOut.rawValue, monthsUntilThen))
        }
        return lines.joined(separator: "\n")
    }

    private var assumptions: String {
        let growth = growthPercentPerMonth
        return String(
            format: """
                A month: %g %% more people, %g %% more requests, %g %% more data. One instance is to spare.
                An instance has %g processors, to be used to %.0f %%, and %.1f GB, to be used to %.0f %%, holds %.0f connections and answers \
                within %g s; Postgres' processors are to be used to %.0f %%, and its connections to %.0f %%.
                """,
            growth.users, growth.requests, growth.data, machine.cores, triggers.processorShare * 100, machine.memoryBytes / 1e9,
            triggers.memoryShare * 100, triggers.connections, triggers.responseSeconds, triggers.databaseProcessorShare * 100,
            triggers.databaseConnectionsShare * 100)
    }

    /// Instances and processors over the months, as SVG.
    public var chart: String {
        let (width, height, left, bottom) = (640.0, 260.0, 50.0, 30.0)
        let last = max(rows.last!.month, 1e-9)
        let top = max(1, rows.map { max(Double($0.instances), $0.processors) }.max()!)
        func line(_ colour: String, _ name: String, _ number: Double, _ value: (Row) -> Double) -> String {
            let points = rows.map { row in
                String(
                    format: "%.1f,%.1f", left + (width - left - 20) * row.month / last, 20 + (height - bottom - 20) * (1 - value(row) / top)
                )
            }
            return """
                <polyline fill="none" stroke="\(colour)" stroke-width="2" points="\(points.joined(separator: " "))"/>
                <text x="\(left + 10)" y="\(30 + number * 16)" fill="\(colour)">\(name)</text>
                """
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(width)) \(Int(height))" font-family="system-ui, sans-serif" font-size="12">
            <rect width="100%" height="100%" fill="#f7f8fa"/>
            <text x="6" y="24">\(String(format: "%.3g", top))</text><text x="6" y="\(height - bottom)">0</text>
            <text x="\(left)" y="\(height - 8)">now</text><text x="\(width - 80)" y="\(height - 8)">\(String(format: "%g", last)) months</text>
            \(line("#2d6cdf", "instances", 0) { Double($0.instances) })
            \(line("#d9822b", "processors", 1) { $0.processors })
            </svg>
            """
    }
}
