package org.edgerec

import android.content.Context
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.edgerec.android.Event
import org.edgerec.android.HistoryStore
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith

/** [HistoryStore] on the classes of `android.database.sqlite`, in a real SQLite. */
@RunWith(AndroidJUnit4::class)
class HistoryStoreTest {
    private val context: Context = InstrumentationRegistry.getInstrumentation().targetContext

    private fun <T> opened(most: Int = 1000, use: suspend (HistoryStore) -> T): T =
        HistoryStore(context, NAME, most).use { store -> runBlocking { use(store) } }

    @Before
    fun empty() {
        context.deleteDatabase(NAME)
    }

    @Test
    fun eventsAreKeptWhenTheStoreIsOpenedAnew() {
        val events = listOf(Event("a", 4.5f, 1), Event("日本語", null, 2), Event("", 0f, Long.MAX_VALUE), Event("a", null, -1))
        opened { store -> events.forEach { store.add(it.item, it.value, it.time) } }
        assertEquals(events, opened { it.events() })
        assertEquals(events.takeLast(2), opened { it.events(limit = 2) })
        assertEquals(listOf("日本語", ""), opened { store -> store.remove("a"); store.history() })
        assertEquals(emptyList<String>(), opened { store -> store.clear(); store.history() })
    }

    @Test
    fun theOldestEventsAreForgotten() {
        opened(most = 5) { store -> repeat(20) { store.add("i$it") } }
        assertEquals((15..19).map { "i$it" }, opened { it.history() })
        assertEquals((18..20).map { "i$it" }, opened(most = 3) { store -> store.add("i20"); store.history() })
        assertThrows(IllegalArgumentException::class.java) { HistoryStore(context, NAME, most = 0) }
    }

    @Test
    fun writersAtTheSameTimeLoseNothing() {
        HistoryStore(context, NAME).use { other ->
            HistoryStore(context, NAME).use { store ->
                runBlocking(Dispatchers.Default) {
                    for (writer in 0 until 8) {
                        launch { repeat(25) { (if (writer % 2 == 0) store else other).add("$writer.$it") } }
                    }
                }
            }
        }
        val history = opened { it.history() }
        assertEquals(200, history.size)
        for (writer in 0 until 8) assertEquals((0 until 25).map { "$writer.$it" }, history.filter { it.startsWith("$writer.") })
    }

    private companion object {
        const val NAME = "history-test.db"
    }
}
