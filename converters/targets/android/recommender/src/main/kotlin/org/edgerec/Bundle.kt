package org.edgerec

import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.security.MessageDigest

/**
 * A checked bundle: a TFLite flatbuffer with a ZIP appended, which holds everything about the model: the sizes of its
 * inputs, the ids, the titles, the golden vectors and the hashes of all parts.
 *
 * @property manifest the parsed `edgerec.json`.
 * @property items raw id by row; row 0 is padding, rows from 1 on by descending popularity.
 * @property titles likewise the titles; `null` when the bundle has none.
 * @property userFeatures features of the user that the model can read.
 * @property attributes attributes of the items for [Recommender.recommend]'s `atMost`, by name.
 * @property features inputs of a ranking model.
 */
class Bundle private constructor(
    val manifest: Map<String, Any?>,
    val contract: Contract,
    val items: Ids,
    val titles: Texts?,
    val userFeatures: List<UserFeature>,
    val attributes: Map<String, Attribute>,
    val features: List<Feature>,
    internal val itemValues: Map<String, ItemColumn>,
    private val goldenContent: ByteArray?,
    /** sha256 of the manifest, which has the hashes of all else: tells any two bundles apart. */
    internal val identity: String,
    /** The model itself: a direct buffer, without the ZIP. */
    internal val flatbuffer: ByteBuffer,
) {
    val name: String get() = manifest["name"] as String

    /** How the weights are stored, such as `int8`. */
    val scheme: String get() = manifest["scheme"] as String

    /** sha256 of the model, in 64 hexadecimal digits: which model a stored state belongs to. */
    val fingerprint: String get() = manifest["flatbuffer_sha256"] as String

    /** The release number; a lower one never replaces a higher one. */
    val release: Long get() = manifest["release"] as? Long ?: 0L

    /** Whether items of the history are left out by default. */
    val excludeHistory: Boolean get() = manifest["exclude_history"] as? Boolean ?: true

    /** The contract of a retrieval bundle; @throws BundleException it is another kind. */
    internal fun retrieval(): Retrieval = contract as? Retrieval
        ?: throw BundleException("a ${contract.kind} model, not a ${Retrieval.KIND} model")

    /** The contract of a ranking bundle; @throws BundleException it is another kind. */
    internal fun ranking(): Ranking = contract as? Ranking
        ?: throw BundleException("a ${contract.kind} model, not a ${Ranking.KIND} model")

    /**
     * The golden vectors: inputs with the outputs that are expected for them. Empty when the bundle has none.
     *
     * @throws BundleException they are malformed.
     */
    internal fun golden(): List<Map<*, *>> {
        val document = parsed(goldenContent ?: return emptyList(), GOLDEN)
        val cases = (document as? Map<*, *>)?.get("cases") as? List<*>
            ?: throw BundleException("$GOLDEN has no list of cases")
        return cases.map { it as? Map<*, *> ?: throw BundleException("$GOLDEN has a malformed case") }
    }

    companion object {
        /** The newest format that this version reads. */
        const val FORMAT = 3L

        private const val MANIFEST = "edgerec.json"
        private const val ITEMS = "items.txt"
        private const val NUMBERS = "items.bin"
        private const val TITLES = "titles.txt"
        private const val GOLDEN = "golden.json"
        private const val CARD = "MODEL_CARD.md"
        private const val ATTRIBUTES = "attributes.json"
        private const val FEATURES = "features.json"
        private const val ITEM_VALUES = "item_values.json"
        private val MEMBERS =
            setOf(MANIFEST, ITEMS, NUMBERS, TITLES, GOLDEN, CARD, ATTRIBUTES, FEATURES, ITEM_VALUES)

        // Far above any real catalogue; stops a zip bomb before it is unpacked.
        private const val MAX_MEMBER_BYTES = 256 * 1024 * 1024
        private const val LARGEST_RELEASE = (1L shl 53) - 1
        private val IDENTIFIER = "TFL3".toByteArray()

        /**
         * Reads and checks a file, which is mapped, not copied.
         *
         * @throws BundleException it is absent, not a bundle, truncated, altered, or of a newer format.
         */
        fun read(file: File): Bundle = naming(file.path) { read(mapped(file)) }

        /** Reads and checks a bundle in memory. */
        fun read(content: ByteArray): Bundle = read(ByteBuffer.allocateDirect(content.size).put(content))

        /**
         * Reads and checks the whole of a direct buffer, which must not change while the bundle is in use.
         *
         * @throws BundleException as for a file.
         */
        fun read(content: ByteBuffer): Bundle {
            val file = content.duplicate()
            (file as Buffer).clear()
            try {
                return checked(file)
            } catch (error: OutOfMemoryError) {
                throw BundleException("the bundle needs more memory than this app may use", error)
            }
        }

        private fun mapped(file: File): ByteBuffer = try {
            FileInputStream(file).use { it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.channel.size()) }
        } catch (error: FileNotFoundException) {
            throw BundleException(if (file.isDirectory) "a folder, not a bundle" else "no such file", error)
        } catch (error: IOException) {
            throw BundleException("cannot be read (${error.message})", error)
        } catch (error: IllegalArgumentException) {
            throw BundleException("is larger than 2 GB", error)
        }

        private fun checked(file: ByteBuffer): Bundle {
            if (file.limit() < 8 || IDENTIFIER.indices.any { file.get(4 + it) != IDENTIFIER[it] }) {
                throw BundleException("not a TFLite file")
            }
            val archive = Archive.of(file, MEMBERS, MAX_MEMBER_BYTES)
            val members = LinkedHashMap(archive.members())
            val stored = members.remove(MANIFEST) ?: throw BundleException("has no $MANIFEST, so it is not an edgerec bundle")
            val manifest = manifest(stored)
            val flatbuffer = flatbuffer(file, archive.start, manifest)
            checkHashes(members, manifest)
            val contract = reading(MANIFEST) { Contract.of(manifest["contract"]) }
            val items = items(members, contract)
            val titles = members[TITLES]?.let { reading(TITLES) { Lines(it) } }
            if (contract is Retrieval) checkVocabulary(items, titles, contract)
            val userFeatures = if (contract is Retrieval) userFeatures(manifest, contract) else emptyList()
            val attributes = members[ATTRIBUTES]?.let {
                reading(ATTRIBUTES) { Attribute.of(Json.parse(it), items.size - 1) }
            }.orEmpty()
            val features = features(members, contract)
            val values = members[ITEM_VALUES]?.let {
                reading(ITEM_VALUES) { ItemColumn.of(Json.parse(it), features, items.size - 1) }
            }.orEmpty()
            return Bundle(
                manifest, contract, items, titles, userFeatures, attributes, features, values, members[GOLDEN],
                MessageDigest.getInstance("SHA-256").digest(stored).hex(), flatbuffer,
            )
        }

        private fun manifest(content: ByteArray): Map<String, Any?> {
            val document = reading(MANIFEST) { Json.parse(content) } as? Map<*, *>
            val format = document?.get("format") as? Long ?: throw BundleException("$MANIFEST has no format version")
            if (format > FORMAT) {
                throw BundleException("bundle format $format, this app reads up to $FORMAT; export the module again")
            }
            val sections = listOf("runtimes", "dataset", "quality").map { document.getOrElseKey(it, emptyMap<Any, Any>()) }
            val runtimes = (sections[0] as? Map<*, *>)?.values.orEmpty()
            if (sections.any { it !is Map<*, *> } || runtimes.any { it !is Map<*, *> }) {
                throw BundleException("$MANIFEST has entries of the wrong kind")
            }
            if (document["name"] !is String || document["scheme"] !is String) {
                throw BundleException("$MANIFEST lacks the name or the scheme")
            }
            val release = document.getOrElseKey("release", 0L)
            if (release !is Long || release !in 0..LARGEST_RELEASE) {
                throw BundleException("$MANIFEST has the release $release, which is not a number from 0 to 2^53 - 1")
            }
            return document.entries.associate { it.key as String to it.value }
        }

        private fun Map<*, *>.getOrElseKey(key: String, default: Any): Any? = if (containsKey(key)) get(key) else default

        private fun flatbuffer(file: ByteBuffer, size: Int, manifest: Map<String, Any?>): ByteBuffer {
            if (manifest["flatbuffer_bytes"] != size.toLong()) {
                throw BundleException(
                    "the model has $size bytes, $MANIFEST says ${manifest["flatbuffer_bytes"]}; " +
                        "the file is truncated or altered",
                )
            }
            val model = file.duplicate()
            (model as Buffer).limit(size)
            val digest = MessageDigest.getInstance("SHA-256").apply { update(model.duplicate()) }.digest()
            if (digest.hex() != manifest["flatbuffer_sha256"]) {
                throw BundleException("the model was altered (its sha256 is not the one in $MANIFEST)")
            }
            return model.slice()
        }

        private fun checkHashes(members: Map<String, ByteArray>, manifest: Map<String, Any?>) {
            val hashes = manifest["members"] as? Map<*, *>
            if (hashes == null || hashes.keys != members.keys) {
                throw BundleException("its members are not those that $MANIFEST lists; convert the model again")
            }
            for ((name, content) in members) {
                if (MessageDigest.getInstance("SHA-256").digest(content).hex() != hashes[name]) {
                    throw BundleException("$name was altered (its sha256 is not the one in $MANIFEST)")
                }
            }
        }

        private fun items(members: Map<String, ByteArray>, contract: Contract): Ids {
            val numbers = members[NUMBERS]
            if (numbers == null) return members[ITEMS]?.let { reading(ITEMS) { LineIds(it) } } ?: NoIds
            if (ITEMS in members || contract !is Retrieval) {
                throw BundleException("$NUMBERS is not for this bundle; convert the model again")
            }
            return reading(NUMBERS) { NumberIds(numbers, contract.items) }
        }

        private fun checkVocabulary(items: Ids, titles: Texts?, contract: Retrieval) {
            if (items.size != contract.items + 1) {
                throw BundleException(
                    "$ITEMS names ${items.size - 1} items, the model scores ${contract.items}; convert the model again",
                )
            }
            if (!(if (items is LineIds) items.unique else (items as NumberIds).unique)) {
                throw BundleException("an item is named twice; convert the model again")
            }
            if (titles != null && titles.size > 1 && titles.size != items.size) {
                throw BundleException("$TITLES has ${titles.size - 1} lines for ${contract.items} items")
            }
        }

        private fun userFeatures(manifest: Map<String, Any?>, contract: Retrieval): List<UserFeature> {
            val entries = manifest["user_features"] ?: return emptyList()
            val features = try {
                require(entries is List<*>) { "it is not a list" }
                entries.map(UserFeature::of)
            } catch (error: IllegalArgumentException) {
                throw BundleException("$MANIFEST has a malformed entry under user_features (${error.message})", error)
            }
            var first = contract.items + 1
            for (feature in features) {
                if (feature.first != first) {
                    throw BundleException("the user feature ${feature.name} begins at row ${feature.first}, not $first")
                }
                first += feature.rows
            }
            if (features.isNotEmpty() && features.size >= contract.maxHistory) {
                throw BundleException("${features.size} user features leave no place for a history")
            }
            return features
        }

        private fun features(members: Map<String, ByteArray>, contract: Contract): List<Feature> {
            val content = members[FEATURES] ?: return emptyList()
            if (contract !is Ranking) throw BundleException("$FEATURES is not for this bundle; convert the model again")
            return reading(FEATURES) { Feature.of(Json.parse(content), contract) }
        }

        private fun parsed(content: ByteArray, name: String): Any? = reading(name) { Json.parse(content) }

        /** Runs a step of reading a member; an illegal argument becomes a [BundleException] with the member's name. */
        private fun <T> reading(name: String, step: () -> T): T = try {
            step()
        } catch (error: IllegalArgumentException) {
            throw BundleException("$name ${error.message}", error)
        }

        /** Runs a step; its [BundleException] gets the name of the file. */
        private fun <T> naming(file: String, step: () -> T): T = try {
            step()
        } catch (error: BundleException) {
            throw BundleException("$file: ${error.message}", error)
        }
    }
}

internal fun ByteArray.hex(): String = joinToString("") { "%02x".format(it) }
