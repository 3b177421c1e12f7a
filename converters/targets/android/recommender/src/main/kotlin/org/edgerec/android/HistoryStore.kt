package org.edgerec.android

import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.sqlite.SQLiteDatabase
import android.database.sqlite.SQLiteOpenHelper
import java.io.Closeable
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/**
 * An event of the user.
 *
 * @property item raw id.
 * @property value such as a rating; `null` for none.
 * @property time milliseconds since 1970.
 */
data class Event(val item: String, val value: Float?, val time: Long)

/**
 * The user's own history, in a database of the app. It never leaves the device, and holds no user id.
 *
 * Every function may be called from the main thread.
 *
 * @param most how many of the newest events are kept.
 */
class HistoryStore(context: Context, name: String = "edgerec-history.db", private val most: Int = 1000) : Closeable {
    private val helper = Helper(context.applicationContext, name)

    init {
        require(most > 0) { "$most events to keep; keep at least one" }
    }

    /** Adds an event; the oldest ones beyond [most] are forgotten. */
    suspend fun add(item: String, value: Float? = null, time: Long = System.currentTimeMillis()) = writing { database ->
        val row = ContentValues().apply {
            put("item", item)
            put("value", value)
            put("time", time)
        }
        database.insertOrThrow("event", null, row)
        database.execSQL(HistorySql.FORGET_OLDEST, arrayOf<Any>(most))
    }

    /** The newest events, oldest first, as `recommend` takes them: `store.events().map { it.item }`. */
    suspend fun events(limit: Int = most): List<Event> = withContext(Dispatchers.IO) {
        helper.readableDatabase.rawQuery(HistorySql.NEWEST, arrayOf(limit.toString())).use { rows ->
            List(rows.count) { place ->
                rows.moveToPosition(place)
                event(rows)
            }.asReversed()
        }
    }

    /** Raw ids of the newest events, oldest first. */
    suspend fun history(limit: Int = most): List<String> = events(limit).map { it.item }

    /** Forgets all events of an item. */
    suspend fun remove(item: String) = writing { it.execSQL(HistorySql.REMOVE, arrayOf<Any>(item)) }

    /** Forgets everything. */
    suspend fun clear() = writing { it.execSQL(HistorySql.CLEAR) }

    override fun close() = helper.close()

    private suspend fun writing(change: (SQLiteDatabase) -> Unit) = withContext(Dispatchers.IO) {
        val database = helper.writableDatabase
        database.beginTransaction()
        try {
            change(database)
            database.setTransactionSuccessful()
        } finally {
            database.endTransaction()
        }
    }

    private fun event(rows: Cursor) = Event(rows.getString(0), if (rows.isNull(1)) null else rows.getFloat(1), rows.getLong(2))

    private class Helper(context: Context, name: String) : SQLiteOpenHelper(context, name, null, VERSION) {
        override fun onCreate(database: SQLiteDatabase) = database.execSQL(HistorySql.CREATE)

        override fun onUpgrade(database: SQLiteDatabase, oldVersion: Int, newVersion: Int) = Unit

        private companion object {
            const val VERSION = 1
        }
    }
}

/** The statements of [HistoryStore]. */
internal object HistorySql {
    // "if not exists": two stores that are opened at once may both find an empty file.
    const val CREATE = "create table if not exists event (place integer primary key autoincrement, item text not null, value real, time integer not null)"
    const val NEWEST = "select item, value, time from event order by place desc limit ?"
    const val FORGET_OLDEST = "delete from event where place not in (select place from event order by place desc limit ?)"
    const val REMOVE = "delete from event where item = ?"
    const val CLEAR = "delete from event"
}
