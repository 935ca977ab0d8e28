// swift-tools-version: 6.2
import PackageDescription

/// Every target of the project is held to the same rules.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// Tests read better without an import list for every member.
let tests: [SwiftSetting] = [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")]

let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "stanchion",
    products: [
        .executable(name: "stanchion", targets: ["stanchion"]),
        .library(name: "WebSocketProtocol", targets: ["WebSocketProtocol"]),
        .library(name: "HTTPProtocol", targets: ["HTTPProtocol"]),
        .library(name: "QueueEngine", targets: ["QueueEngine"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["YAML"]),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        // System libraries and shims.
        .target(name: "CLinux"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        // Without pkg-config: its flags for this library are such as the package manager does not take.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),

        // The lock that everybody uses, and the thread sanitizer's.
        .target(name: "Locks", swiftSettings: strict),

        // The cores: no I/O, no clock, no task.
        .target(name: "WebSocketProtocol", dependencies: ["COpenSSL", "CZlib"], swiftSettings: strict),
        .target(name: "HTTPProtocol", dependencies: [httpTypes], swiftSettings: strict),
        .target(
            name: "QueueEngine",
            dependencies: [
                .product(name: "HashTreeCollections", package: "swift-collections"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: strict),

        // What can be done with a queue, and what is measured of it.
        .target(
            name: "Telemetry",
            dependencies: [
                "Locks", logging, .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: strict),
        .target(
            name: "QueueService",
            dependencies: [
                "QueueEngine", "Telemetry", "Locks", logging, .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "HashTreeCollections", package: "swift-collections"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: strict),

        // Shells around the cores.
        .target(
            name: "EventLoop",
            dependencies: ["CLinux", "COpenSSL", "Locks", logging, .product(name: "DequeModule", package: "swift-collections")],
            swiftSettings: strict),
        .target(
            name: "Storage",
            dependencies: [
                "QueueService", "EventLoop", "Telemetry", "CPostgres", "Locks", .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "OrderedCollections", package: "swift-collections"), logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Fanout",
            dependencies: [
                "QueueEngine", "QueueService", "Telemetry", "EventLoop", "CHiredis", "Locks", logging,
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "Metrics", package: "swift-metrics"),
            ],
            swiftSettings: strict),
        // The browser's side, compiled in.
        .target(name: "WebClient", path: "web-client", exclude: ["types"], resources: [.embedInCode("assets")], swiftSettings: strict),
        .target(
            name: "Server",
            dependencies: [
                "WebSocketProtocol", "HTTPProtocol", "QueueEngine", "Telemetry", "QueueService", "EventLoop",
                "Storage", "Fanout", "WebClient", "Locks", "CJansson", "CLinux", "CZlib", httpTypes, logging,
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
            ],
            // A request stays on its connection's loop: a function that waits does not leave the thread that called it.
            swiftSettings: strict + [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]),
        .target(
            name: "Operations",
            dependencies: [
                "WebSocketProtocol", "HTTPProtocol", "QueueEngine", "Telemetry", "QueueService", "EventLoop", "Storage", "Fanout",
                httpTypes, logging,
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "stanchion",
            dependencies: [
                "Server", "Operations", "Storage", "Fanout", "EventLoop", "QueueService", logging, httpTypes,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"), "Locks",
            ],
            swiftSettings: strict),

        // What `make bench` measures with: clients, and the engine alone.
        .executableTarget(
            name: "bench", dependencies: ["Operations", "QueueEngine", "EventLoop", "HTTPProtocol", "WebSocketProtocol", httpTypes],
            path: "Benchmarks/bench", swiftSettings: tests),

        // The simulator: services in virtual time, over a store and a bus that fail.
        .target(
            name: "Simulation",
            dependencies: [
                "QueueEngine", "QueueService", "Telemetry", "Locks", logging,
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            path: "Tests/Simulation/Library", swiftSettings: strict + [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]),
        .executableTarget(name: "simulate", dependencies: ["Simulation"], path: "Tests/Simulation/Command", swiftSettings: tests),

        // Tests mirror the targets.
        .target(
            name: "TestSupport", dependencies: ["QueueEngine", "QueueService", "EventLoop", "Storage", "Locks", "Simulation"],
            path: "Tests/TestSupport",
            swiftSettings: strict),
        .testTarget(name: "WebSocketProtocolTests", dependencies: ["WebSocketProtocol", "TestSupport"], swiftSettings: tests),
        .testTarget(name: "HTTPProtocolTests", dependencies: ["HTTPProtocol", "TestSupport", httpTypes], swiftSettings: tests),
        .testTarget(name: "QueueEngineTests", dependencies: ["QueueEngine", "TestSupport"], swiftSettings: tests),
        .testTarget(
            name: "TelemetryTests",
            dependencies: ["Telemetry", "Locks", logging, .product(name: "Tracing", package: "swift-distributed-tracing")],
            swiftSettings: tests),
        .testTarget(name: "EventLoopTests", dependencies: ["EventLoop", "CLinux", "TestSupport"], swiftSettings: tests),
        .testTarget(
            name: "QueueServiceTests",
            dependencies: ["QueueService", "Storage", "Fanout", "EventLoop", "Telemetry", "TestSupport", "Locks", logging],
            swiftSettings: tests),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation", "simulate", "QueueEngine"], swiftSettings: tests),
        .testTarget(name: "StorageTests", dependencies: ["Storage", "Telemetry", "TestSupport"], swiftSettings: tests),
        .testTarget(
            name: "FanoutTests",
            dependencies: ["Fanout", "QueueService", "QueueEngine", "Telemetry", "TestSupport", "Locks"],
            swiftSettings: tests),
        .testTarget(
            name: "OperationsTests",
            dependencies: ["Operations", "Server", "Storage", "QueueService", "Telemetry", "EventLoop", "TestSupport", logging],
            swiftSettings: tests),
        .testTarget(name: "ServerTests", dependencies: ["Server", "TestSupport"], swiftSettings: tests),
        .testTarget(name: "StanchionTests", dependencies: ["stanchion", "TestSupport"], swiftSettings: tests),
        .testTarget(name: "AcceptanceTests", dependencies: ["stanchion", "TestSupport"], exclude: ["Python"], swiftSettings: tests),
    ]
)

// The fuzzers need libFuzzer's own entry point, so they are there only for `make fuzz`.
if Context.environment["STANCHION_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "fuzz",
            dependencies: ["HTTPProtocol", "WebSocketProtocol", "EventLoop", "Server", "QueueEngine", "QueueService", "Fanout"],
            path: "Tests/Fuzz/Sources", swiftSettings: tests + [.unsafeFlags(["-parse-as-library"])]))
}
