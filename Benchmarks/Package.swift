// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that nobody who uses Holdfast builds it.
let store: Target.Dependency = .product(name: "HoldfastStore", package: "holdfast")
let services: Target.Dependency = .product(name: "Holdfast", package: "holdfast")
let redis: Target.Dependency = .product(name: "HoldfastRedis", package: "holdfast")

let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "holdfast", path: "..")
    ],
    targets: [
        .target(name: "ClientLoads", dependencies: [store, redis, services]),
        // One load and nothing else: what the gate counts. It needs little of the package, so CI can build it.
        .executableTarget(name: "client-load", dependencies: ["ClientLoads"]),
        .executableTarget(name: "benchmarks", dependencies: ["ClientLoads", store, redis, services]),
    ],
    swiftLanguageModes: [.v6]
)
