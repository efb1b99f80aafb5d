// swift-tools-version: 6.2
import PackageDescription

// HOLDFAST_CORE=1 leaves out every target that reaches NIO: the store, the services and their tests build in seconds
// (`scripts/test core`). Nothing else differs.
let coreOnly = Context.environment["HOLDFAST_CORE"] == "1"

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

let collections: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let package = Package(
    name: "holdfast",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "HoldfastStore", targets: ["HoldfastStore"]),
        .library(name: "Holdfast", targets: ["Holdfast"]),
        .library(name: "HoldfastTesting", targets: ["HoldfastTesting"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: [
        library("HoldfastStore", [collections]),
        library("Holdfast", ["HoldfastStore", collections, logging, lifecycle]),
        library("HoldfastTesting", ["HoldfastStore"]),
        // What callers do and must be able to rely on while servers come and go.
        .target(
            name: "OutageLedger", dependencies: ["Holdfast", "HoldfastStore"], path: "Tests/OutageLedger", swiftSettings: settings
        ),
        // Random schedules of a fleet and its server, played on a manual clock; `scripts/simulate`.
        .executableTarget(
            name: "outage-simulator", dependencies: ["Holdfast", "HoldfastStore", "HoldfastTesting", "OutageLedger"],
            path: "Tests/OutageSimulator", swiftSettings: settings),
        tests("HoldfastStoreTests", ["HoldfastStore", "HoldfastTesting"]),
        tests("HoldfastTests", ["Holdfast", "HoldfastStore", "HoldfastTesting", logging]),
    ],
    swiftLanguageModes: [.v6]
)

// HOLDFAST_DOCS=1 adds the plugin that builds the documentation (`scripts/docs`), which no user of the package needs.
if Context.environment["HOLDFAST_DOCS"] == "1" {
    package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin.git", from: "1.5.0"))
}

if !coreOnly {
    let nio: [Target.Dependency] = [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
    ]
    let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
    let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
    let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
    let configuration: Target.Dependency = .product(name: "Configuration", package: "swift-configuration")
    let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
    let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
    let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
    let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
    let ssl: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
    let http1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")

    package.products += [
        .library(name: "HoldfastRedis", targets: ["HoldfastRedis"]),
        .library(name: "HoldfastUpstash", targets: ["HoldfastUpstash"]),
        .library(name: "HoldfastHummingbird", targets: ["HoldfastHummingbird"]),
        .library(name: "HoldfastServer", targets: ["HoldfastServer"]),
        .executable(name: "holdfast", targets: ["holdfast"]),
    ]
    package.dependencies += [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0", traits: ["JSON", "YAML"]),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
    ]
    package.targets += [
        library("HoldfastRedis", ["HoldfastStore", collections, logging, ssl, crypto] + nio),
        library("HoldfastRESP", ["HoldfastStore", logging, lifecycle] + nio),
        library(
            "HoldfastUpstash", ["HoldfastStore", httpClient, crypto, ssl, http1] + nio),
        library("HoldfastHummingbird", ["Holdfast", "HoldfastStore", hummingbird, httpTypes]),
        library(
            "HoldfastServer",
            [
                "Holdfast", "HoldfastHummingbird", "HoldfastStore", "HoldfastRedis", "HoldfastRESP", "HoldfastUpstash",
                hummingbird,
                hummingbirdCore, httpTypes, configuration, crypto, logging, lifecycle, unixSignals, ssl, http1,
            ]
                + nio
        ),
        .executableTarget(
            name: "holdfast",
            dependencies: [
                "Holdfast", "HoldfastStore", "HoldfastServer", "HoldfastRedis", "HoldfastUpstash", argumentParser, httpClient,
                logging, lifecycle, http1, ssl,
            ] + nio,
            path: "Sources/holdfast-cli",
            swiftSettings: settings
        ),
        .target(
            name: "TestServers",
            dependencies: [
                "Holdfast", "HoldfastStore", "HoldfastRedis", "HoldfastUpstash", "HoldfastServer", "HoldfastTesting", logging,
            ] + nio,
            path: "Tests/TestServers",
            swiftSettings: settings
        ),
        // What a test kills while it writes.
        .executableTarget(
            name: "journal-writer", dependencies: ["HoldfastStore"], path: "Tests/JournalWriter", swiftSettings: settings),
        // One of several processes in a test of limits.
        .executableTarget(
            name: "limit-caller",
            dependencies: ["Holdfast", "HoldfastStore", "HoldfastRedis"],
            path: "Tests/LimitCaller",
            swiftSettings: settings
        ),
        tests("HoldfastRedisTests", ["HoldfastRedis", "HoldfastStore", "HoldfastTesting", "TestServers", logging, ssl] + nio),
        tests("HoldfastUpstashTests", ["HoldfastUpstash", "HoldfastStore", "TestServers", ssl] + nio),
        tests(
            "HoldfastRESPTests", ["HoldfastRESP", "HoldfastStore", "HoldfastTesting", "TestServers", logging, lifecycle] + nio),
        tests(
            "ConformanceTests",
            [
                "Holdfast", "HoldfastStore", "HoldfastRedis", "HoldfastTesting", "TestServers", "limit-caller", "journal-writer",
                logging,
            ]),
        tests(
            "FaultTests",
            [
                "Holdfast", "HoldfastStore", "HoldfastRedis", "HoldfastTesting", "OutageLedger", "TestServers",
                "outage-simulator",
            ]
                + nio),
        tests(
            "HoldfastHummingbirdTests",
            [
                "HoldfastHummingbird", "Holdfast", "HoldfastStore", "HoldfastTesting", hummingbird, httpTypes,
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ]),
        tests(
            "HoldfastServerTests",
            [
                "Holdfast", "HoldfastHummingbird", "HoldfastStore", "HoldfastServer", "HoldfastRedis", "HoldfastTesting",
                "HoldfastUpstash", "TestServers", "holdfast", hummingbird, httpTypes, ssl,
                logging, configuration, .product(name: "HummingbirdTesting", package: "hummingbird"),
            ] + nio
        ),
    ]
}
