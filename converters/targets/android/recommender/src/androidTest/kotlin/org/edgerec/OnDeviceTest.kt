package org.edgerec

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import kotlinx.coroutines.runBlocking
import org.edgerec.android.HistoryStore
import org.edgerec.android.open
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** The self-test on a phone or emulator: `./gradlew :recommender:connectedAndroidTest`. */
@RunWith(AndroidJUnit4::class)
class OnDeviceTest {
    private val context = InstrumentationRegistry.getInstrumentation().targetContext

    @Test
    fun theModelComputesHereWhatItComputesInPython() = runBlocking {
        Recommender.open(context).use { it.golden().requirePassed() }
    }

    @Test
    fun anEmptyHistoryGivesTheMostPopularItems() = runBlocking {
        Recommender.open(context).use { recommender ->
            val list = recommender.recommend(emptyList(), k = 3)
            assertEquals(Source.POPULARITY, list.source)
            assertEquals(recommender.bundle().items[1], list.first().item)
        }
    }

    @Test
    fun theHistoryIsKeptInOrderAndForgotten() = runBlocking {
        context.deleteDatabase("test-history.db")
        HistoryStore(context, "test-history.db", most = 3).use { store ->
            listOf("a", "b", "a", "c").forEach { store.add(it) }
            assertEquals(listOf("b", "a", "c"), store.history())
            store.remove("a")
            assertEquals(listOf("b", "c"), store.history())
            store.clear()
            assertTrue(store.history().isEmpty())
        }
    }
}
