/** The bundle: a TFLite flatbuffer with a ZIP appended, read and checked before any model is loaded. */

import { attributesOf } from './attributes.js';
import { contractOf, isCount, isObject } from './contract.js';
import { BundleError } from './errors.js';
import { featuresOf, itemValuesOf } from './features.js';
import { readLines, readNumbers } from './texts.js';
import { userFeaturesOf } from './user_features.js';
import { readDirectory } from './zip.js';

const FORMAT_VERSION = 3;
const MANIFEST = 'edgerec.json';
const [ITEMS, NUMBERS, TITLES, GOLDEN, CARD] = ['items.txt', 'items.bin', 'titles.txt', 'golden.json', 'MODEL_CARD.md'];
const [ATTRIBUTES, FEATURES, ITEM_VALUES] = ['attributes.json', 'features.json', 'item_values.json'];
const MEMBERS = new Set([MANIFEST, ITEMS, NUMBERS, TITLES, GOLDEN, CARD, ATTRIBUTES, FEATURES, ITEM_VALUES]);
const OUT_OF_PLACE = 'convert the model again';

/** A checked bundle. */
export class Bundle {
  /**
   * @param {object} parts
   * @param {Record<string, any>} parts.manifest the parsed `edgerec.json`
   * @param {Uint8Array} parts.flatbuffer the TFLite model
   * @param {Map<string, Uint8Array>} parts.members
   * @param {import('./contract.js').Retrieval | import('./contract.js').Ranking} parts.contract
   * @param {string[]} parts.items raw id by row; row 0 is padding
   * @param {string[]} parts.titles likewise the titles; empty when the bundle has none
   * @param {import('./user_features.js').UserFeature[]} parts.userFeatures
   * @param {Map<string, import('./attributes.js').Attribute>} parts.attributes
   * @param {import('./features.js').Feature[]} parts.features
   * @param {Map<string, any[]>} parts.itemValues
   */
  constructor({ manifest, flatbuffer, members, contract, items, titles, userFeatures, ...rest }) {
    this.manifest = manifest;
    this.flatbuffer = flatbuffer;
    this.contract = contract;
    this.items = items;
    this.titles = titles;
    this.userFeatures = userFeatures;
    this.attributes = rest.attributes;
    this.features = rest.features;
    this.itemValues = rest.itemValues;
    this.#members = members;
  }

  /** @type {Map<string, Uint8Array>} */
  #members;

  /** @returns {string} */
  get name() {
    return this.manifest.name;
  }

  /** @returns {string} the quantization scheme */
  get scheme() {
    return this.manifest.scheme;
  }

  /** @returns {string} SHA-256 of the model: which model a stored state belongs to */
  get fingerprint() {
    return this.manifest.flatbuffer_sha256;
  }

  /** @returns {number} */
  get release() {
    return this.manifest.release ?? 0;
  }

  /** @returns {boolean} whether items of the history are left out by default */
  get excludeHistory() {
    return Boolean(this.manifest.exclude_history ?? true);
  }

  /**
   * Read and check a bundle.
   *
   * @param {Uint8Array | ArrayBuffer} content the whole file
   * @returns {Promise<Bundle>}
   * @throws {BundleError} it is not a bundle, truncated, altered, or of a newer format
   */
  static async read(content) {
    const file = content instanceof Uint8Array ? content : new Uint8Array(content);
    if (String.fromCharCode(...file.subarray(4, 8)) !== 'TFL3') throw new BundleError('not a TFLite file');
    const directory = readDirectory(file, MEMBERS);
    const found = directory.find((member) => member.name === MANIFEST);
    if (!found) throw new BundleError(`has no ${MANIFEST}, so it is not an edgerec bundle`);
    const manifest = manifestOf(await found.read());
    const flatbuffer = file.subarray(0, Math.min(...directory.map((member) => member.start)));
    if (flatbuffer.length !== manifest.flatbuffer_bytes) {
      throw new BundleError(`the model has ${flatbuffer.length} bytes, ${MANIFEST} says ${manifest.flatbuffer_bytes}`);
    }
    if ((await sha256(flatbuffer)) !== manifest.flatbuffer_sha256) {
      throw new BundleError(`the model was altered (its sha256 is not the one in ${MANIFEST})`);
    }
    const others = directory.filter((member) => member !== found);
    const hashes = manifest.members;
    if (
      !isObject(hashes) ||
      Object.keys(hashes).sort().join() !==
        others
          .map((m) => m.name)
          .sort()
          .join()
    ) {
      throw new BundleError(`its members are not those that ${MANIFEST} lists; ${OUT_OF_PLACE}`);
    }
    const members = new Map();
    for (const member of others) {
      const inflated = await member.read();
      if ((await sha256(inflated)) !== hashes[member.name]) {
        throw new BundleError(`${member.name} was altered (its sha256 is not the one in ${MANIFEST})`);
      }
      members.set(member.name, inflated);
    }
    return new Bundle({ manifest, flatbuffer, members, ...vocabularyOf(manifest, members) });
  }

  /**
   * The golden vectors; empty when the bundle has none.
   *
   * @returns {Record<string, any>[]}
   * @throws {BundleError} they are malformed
   */
  golden() {
    const content = this.#members.get(GOLDEN);
    if (!content) return [];
    const cases = parsed(GOLDEN, () => json(content).cases);
    const { contract } = this;
    const last = contract.kind === 'retrieval' ? contract.items + rowsOf(this.userFeatures) : 0;
    /** @param {unknown} rows */
    const areRows = (rows) => Array.isArray(rows) && rows.every((row) => isCount(row) && row > 0 && row <= last);
    const sound = (/** @type {any} */ entry) =>
      isObject(entry) &&
      (!last ||
        ([entry.history, entry.exclude, entry.ids].every(areRows) &&
          Array.isArray(entry.scores) &&
          entry.scores.every((/** @type {unknown} */ score) => typeof score === 'number')));
    if (!Array.isArray(cases) || !cases.every(sound)) throw new BundleError(`${GOLDEN} has a malformed case`);
    return cases;
  }

  /** @returns {string | null} the model card (Markdown), if there is one */
  card() {
    const content = this.#members.get(CARD);
    return content ? new TextDecoder().decode(content) : null;
  }
}

/**
 * The content of a bundle.
 *
 * @param {string | URL | Uint8Array | ArrayBuffer} source
 * @returns {Promise<Uint8Array>}
 */
export async function contentOf(source) {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  const response = await fetch(source);
  if (!response.ok) throw new BundleError(`${source} cannot be fetched: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {readonly import('./user_features.js').UserFeature[]} features */
export const rowsOf = (features) => features.reduce((sum, feature) => sum + feature.rows, 0);

/**
 * @param {Uint8Array} content
 * @returns {Promise<string>} in hexadecimal digits
 */
export async function sha256(content) {
  if (!globalThis.crypto?.subtle) {
    throw new BundleError('this page cannot check the model: serve it from https:// or from localhost');
  }
  const digest = await crypto.subtle.digest('SHA-256', /** @type {Uint8Array<ArrayBuffer>} */ (content));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Uint8Array} content @returns {any} */
function json(content) {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content));
}

/**
 * What `parse` returns; an error of it becomes a BundleError about the member.
 *
 * @template T
 * @param {string} member
 * @param {() => T} parse
 * @returns {T}
 */
function parsed(member, parse) {
  try {
    return parse();
  } catch (error) {
    throw new BundleError(`${member} ${error instanceof Error ? error.message : error}; ${OUT_OF_PLACE}`);
  }
}

/** @param {Uint8Array} content @returns {Record<string, any>} */
function manifestOf(content) {
  const manifest = parsed(MANIFEST, () => json(content));
  if (!isObject(manifest) || !Number.isInteger(manifest.format))
    throw new BundleError(`${MANIFEST} has no format version`);
  if (manifest.format > FORMAT_VERSION) {
    throw new BundleError(
      `bundle format ${manifest.format}, this version reads up to ${FORMAT_VERSION}; export it again`,
    );
  }
  const sections = ['runtimes', 'dataset', 'quality'].map((name) => (name in manifest ? manifest[name] : {}));
  const runtimes = sections.every(isObject) && Object.values(sections[0]).every(isObject);
  if (!runtimes) throw new BundleError(`${MANIFEST} has entries of the wrong kind`);
  if (typeof manifest.name !== 'string' || typeof manifest.scheme !== 'string') {
    throw new BundleError(`${MANIFEST} lacks the name or the scheme`);
  }
  if ('release' in manifest && !isCount(manifest.release)) throw new BundleError(`${MANIFEST} has a malformed release`);
  return manifest;
}

/**
 * @param {Record<string, any>} manifest
 * @param {Map<string, Uint8Array>} members
 */
function vocabularyOf(manifest, members) {
  const contract = parsed(MANIFEST, () => contractOf(manifest.contract));
  const items = itemsOf(contract, members);
  const titles = linesOf(members, TITLES) ?? [];
  const retrieval = contract.kind === 'retrieval' ? contract : null;
  if (retrieval) {
    if (items.length !== retrieval.items + 1) {
      throw new BundleError(`${ITEMS} names ${items.length - 1} items, the model scores ${retrieval.items}`);
    }
    if (titles.length && titles.length !== items.length) {
      throw new BundleError(`${TITLES} has ${titles.length - 1} lines for ${retrieval.items} items`);
    }
  }
  if (new Set(items).size !== items.length) throw new BundleError(`an item is named twice; ${OUT_OF_PLACE}`);
  const userFeatures = retrieval ? parsed(MANIFEST, () => userFeaturesOf(manifest.user_features ?? [], retrieval)) : [];
  /** @param {string} name @returns {any} */
  const document = (name) => json(/** @type {Uint8Array} */ (members.get(name)));
  const attributes = members.has(ATTRIBUTES)
    ? parsed(ATTRIBUTES, () => attributesOf(document(ATTRIBUTES), items.length - 1))
    : new Map();
  const ranking = contract.kind === 'ranking' ? contract : null;
  const features =
    ranking && members.has(FEATURES) ? parsed(FEATURES, () => featuresOf(document(FEATURES), ranking)) : [];
  const itemValues = members.has(ITEM_VALUES)
    ? parsed(ITEM_VALUES, () => itemValuesOf(document(ITEM_VALUES), features, items.length - 1))
    : new Map();
  return { contract, items, titles, userFeatures, attributes, features, itemValues };
}

/**
 * @param {import('./contract.js').Retrieval | import('./contract.js').Ranking} contract
 * @param {Map<string, Uint8Array>} members
 * @returns {string[]}
 */
function itemsOf(contract, members) {
  const numbers = members.get(NUMBERS);
  if (!numbers) return linesOf(members, ITEMS) ?? [''];
  if (members.has(ITEMS) || contract.kind !== 'retrieval') throw new BundleError(`${NUMBERS} is not for this bundle`);
  return parsed(NUMBERS, () => readNumbers(numbers, contract.items));
}

/** @param {Map<string, Uint8Array>} members @param {string} name */
function linesOf(members, name) {
  const content = members.get(name);
  return content ? parsed(name, () => readLines(content)) : null;
}
