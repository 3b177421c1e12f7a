import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.android.library)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "org.edgerec"
    compileSdk = 35

    defaultConfig {
        minSdk = 23
        consumerProguardFiles("consumer-rules.pro")
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
    }

    // The model is mapped from the APK, which needs it stored as it is.
    androidResources {
        noCompress += "tflite"
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_11
    }
}

dependencies {
    val runtime = providers.gradleProperty("edgerec.runtime").getOrElse("litert")
    when (runtime) {
        "litert" -> implementation(libs.litert)
        "tensorflow-lite" -> implementation(libs.tensorflow.lite)
        else -> error("edgerec.runtime is $runtime; choose litert or tensorflow-lite")
    }
    implementation(libs.tink)
    api(libs.coroutines)

    testImplementation(libs.junit)
    androidTestImplementation(libs.junit)
    androidTestImplementation(libs.androidx.test.runner)
    androidTestImplementation(libs.androidx.test.junit)
}
