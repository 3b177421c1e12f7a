package org.edgerec

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** The self-test of the file on the workstation, without a phone: `./gradlew :recommender:testDebugUnitTest`. */
class BundleTest {
    private val file = File("src/main/assets/edgerec/model.tflite")

    @Test
    fun theBundleIsWholeAndItsIdsAreFound() {
        val bundle = Bundle.read(file)
        val last = bundle.items.size - 1
        assertEquals(bundle.retrieval().items, last)
        assertEquals(last, bundle.items.find(bundle.items[last]))
        assertTrue(bundle.golden().isNotEmpty())
    }

    @Test
    fun anAlteredBundleIsRefused() {
        val content = file.readBytes()
        content[content.size / 3] = (content[content.size / 3] + 1).toByte()
        assertThrows(BundleException::class.java) { Bundle.read(content) }
    }
}
