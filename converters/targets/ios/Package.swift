// swift-tools-version: 5.9
import PackageDescription

// On Apple systems the TFLite C library is the framework that `fetch-runtime.sh` puts into Frameworks/, and all else is
// part of the system. Linux, where the package is tested, takes its libraries from the linker's path.
#if os(Linux)
let frameworks: [Target] = []
let runtime: [Target.Dependency] = ["CCrypto"]
let crypto: [Target] = [.systemLibrary(name: "CCrypto")]
#else
let frameworks: [Target] = [.binaryTarget(name: "TensorFlowLiteC", path: "Frameworks/TensorFlowLiteC.xcframework")]
let runtime: [Target.Dependency] = ["TensorFlowLiteC"]
let crypto: [Target] = []
#endif

let package = Package(
    name: "EdgeRec",
    platforms: [.iOS(.v15)],
    products: [.library(name: "EdgeRec", targets: ["EdgeRec"])],
    targets: frameworks + crypto + [
        .systemLibrary(name: "CTensorFlowLite"),
        .systemLibrary(name: "CSystem"),
        .target(
            name: "EdgeRec",
            dependencies: ["CTensorFlowLite", "CSystem"] + runtime,
            resources: [.copy("Model"), .process("PrivacyInfo.xcprivacy")],
            linkerSettings: [
                .linkedLibrary("c++", .when(platforms: [.iOS])),
                .linkedLibrary("tensorflowlite_c", .when(platforms: [.linux])),
            ]
        ),
        .testTarget(name: "EdgeRecTests", dependencies: ["EdgeRec"]),
    ]
)
