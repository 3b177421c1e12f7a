package org.edgerec.sample

import androidx.compose.foundation.clickable
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.edgerec.Bundle
import org.edgerec.EdgeRecException
import org.edgerec.Recommendation
import org.edgerec.Recommendations
import org.edgerec.Recommender

private const val FOUND = 20

/** Search for items, pick some, and see what is recommended, why, and in which time. */
@Composable
fun RecommendationScreen(
    open: suspend () -> Recommender,
    history: suspend () -> List<String>,
    pick: suspend (String) -> Unit,
    forget: suspend () -> Unit,
) {
    val scope = rememberCoroutineScope()
    var recommender by remember { mutableStateOf<Recommender?>(null) }
    var bundle by remember { mutableStateOf<Bundle?>(null) }
    var problem by remember { mutableStateOf<String?>(null) }
    var wanted by remember { mutableStateOf("") }
    var found by remember { mutableStateOf(emptyList<Recommendation>()) }
    var list by remember { mutableStateOf<Recommendations?>(null) }
    var milliseconds by remember { mutableStateOf(0.0) }

    suspend fun refresh() {
        val model = recommender ?: return
        val events = history()
        val start = System.nanoTime()
        list = model.recommend(events, k = 10, explain = true)
        milliseconds = (System.nanoTime() - start) / 1e6
    }

    LaunchedEffect(Unit) {
        try {
            recommender = open()
            bundle = recommender?.bundle()
            refresh()
        } catch (error: EdgeRecException) {
            problem = error.message
        }
    }
    DisposableEffect(Unit) { onDispose { recommender?.close() } }
    LaunchedEffect(wanted, bundle) { found = bundle?.let { search(it, wanted) }.orEmpty() }

    Column(Modifier.fillMaxSize().padding(16.dp)) {
        problem?.let { Text(it, color = MaterialTheme.colorScheme.error) }
        OutlinedTextField(wanted, { wanted = it }, Modifier.fillMaxWidth(), label = { Text("Search for an item you like") })
        LazyColumn {
            items(found) { item ->
                Text(
                    item.title.ifEmpty { item.item },
                    Modifier.fillMaxWidth().clickable {
                        scope.launch {
                            pick(item.item)
                            wanted = ""
                            refresh()
                        }
                    }.padding(8.dp),
                )
            }
            item { Text("Recommended for you (%.1f ms)".format(milliseconds), style = MaterialTheme.typography.titleMedium) }
            items(list.orEmpty()) { entry ->
                Column(Modifier.padding(8.dp)) {
                    Text(entry.title.ifEmpty { entry.item })
                    entry.because?.let { Text("because of ${titleOf(bundle, it)}", style = MaterialTheme.typography.bodySmall) }
                }
            }
            item {
                TextButton(onClick = {
                    scope.launch {
                        forget()
                        refresh()
                    }
                }) { Text("Forget my history") }
            }
        }
    }
}

private fun titleOf(bundle: Bundle?, item: String): String {
    val row = bundle?.items?.find(item) ?: 0
    return bundle?.titles?.get(row)?.ifEmpty { null } ?: item
}

/** The most popular items whose title or id has the text. */
private suspend fun search(bundle: Bundle, text: String): List<Recommendation> = withContext(Dispatchers.Default) {
    if (text.isBlank()) return@withContext emptyList()
    val titles = bundle.titles ?: bundle.items
    (1 until bundle.items.size).asSequence()
        .filter { titles[it].contains(text.trim(), ignoreCase = true) || bundle.items[it] == text.trim() }
        .take(FOUND)
        .map { Recommendation(bundle.items[it], 0f, titles[it]) }
        .toList()
}
