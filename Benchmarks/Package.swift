// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that nobody who uses Holdfast builds it.
let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "holdfast", path: "..")
    ],
    targets: [
        .executableTarget(
            name: "benchmarks",
            dependencies: [
                .product(name: "Holdfast", package: "holdfast"),
                .product(name: "HoldfastStore", package: "holdfast"),
                .product(name: "HoldfastRedis", package: "holdfast"),
            ]
        )
    ],
    swiftLanguageModes: [.v6]
)
