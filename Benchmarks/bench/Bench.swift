import EventLoop
import Foundation
import Glibc

/// Clients and measurements for `Benchmarks/run`, which starts this in processes of its own and reads its lines.
@main
struct Bench {
    static func main() {
        signal(SIGPIPE, SIG_IGN)
        EventLoopGroup.raiseDescriptorLimit()
        let arguments = CommandLine.arguments.dropFirst()
        let options = Dictionary(
            arguments.dropFirst().map { $0.split(separator: "=", maxSplits: 1).map(String.init) }.map {
                ($0[0], $0.count > 1 ? $0[1] : "")
            },
            uniquingKeysWith: { $1 })
        switch arguments.first {
        case "engine": EngineBench.run()
        case "protocol": ProtocolBench.run()
        case "crowd": Crowd(options).run()
        case "joins": RequestLoad(.join, options).run()
        case "reads": RequestLoad(.read, options).run()
        default: print("engine | protocol | crowd | joins | reads, with name=value")
        }
    }

    /// Prints a line of JSON at once.
    static func report(_ values: [String: Double]) {
        // Not by `print` and `fflush`: that waits for the thread which reads standard input.
        FileHandle.standardOutput.write(try! JSONSerialization.data(withJSONObject: values) + Data("\n".utf8))
    }
}
