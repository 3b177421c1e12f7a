package org.edgerec.sample

import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.compose.material3.MaterialTheme
import org.edgerec.Recommender
import org.edgerec.android.HistoryStore
import org.edgerec.android.open

class MainActivity : ComponentActivity() {
    private lateinit var store: HistoryStore

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        store = HistoryStore(this)
        setContent {
            MaterialTheme {
                RecommendationScreen(
                    open = { Recommender.open(this) },
                    history = store::history,
                    pick = { store.add(it) },
                    forget = store::clear,
                )
            }
        }
    }

    override fun onDestroy() {
        super.onDestroy()
        store.close()
    }
}
