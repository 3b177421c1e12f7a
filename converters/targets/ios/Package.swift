// swift-tools-version: 5.9
import PackageDescription

// On Apple systems the TFLite C library is LiteRT's official framework, and all else is part of the system. Linux, where
// the package is tested, takes its libraries from the linker's path.
#if os(Linux)
    let systemTargets: [Target] = [.systemLibrary(name: "CCrypto")]
#else
    let systemTargets: [Target] = [
        .binaryTarget(
            name: "TensorFlowLiteC",
            url: "https://github.com/google-ai-edge/LiteRT/releases/download/v2.3.0/TensorFlowLiteC.xcframework.zip",
            checksum: "f77274f9249af1e7dd1de88f57661944f80d177ff2c386b28aa3d466b7173f50")
    ]
#endif

let package = Package(
    name: "EdgeRec",
    platforms: [.iOS(.v15)],
    products: [.library(name: "EdgeRec", targets: ["EdgeRec"])],
    targets: systemTargets + [
        .systemLibrary(name: "CTensorFlowLite"),
        .systemLibrary(name: "CSystem"),
        .target(
            name: "EdgeRec",
            dependencies: ["CTensorFlowLite", "CSystem"] + systemTargets.map { .target(name: $0.name) },
            resources: [.copy("Model"), .process("PrivacyInfo.xcprivacy")],
            linkerSettings: [
                .linkedLibrary("c++", .when(platforms: [.iOS])),
                .linkedLibrary("tensorflowlite_c", .when(platforms: [.linux])),
            ]
        ),
        .testTarget(name: "EdgeRecTests", dependencies: ["EdgeRec"]),
    ]
)
