/** The model of an app, which can be replaced while the app runs, and rolled back. It is kept in IndexedDB. */

import { Bundle, contentOf } from './bundle.js';
import { BundleError } from './errors.js';
import { checkGolden } from './golden.js';
import { Ranker } from './ranker.js';
import { Recommender } from './recommender.js';
import { checkSignature } from './signature.js';

/**
 * @typedef {object} Stored a model file
 * @property {Uint8Array} content
 * @property {string | null} signature the text of its `.sig` file
 */

/**
 * @typedef {object} SlotOptions
 * @property {string | URL | Uint8Array} initial the model that comes with the app, or where it is
 * @property {string} [signature] the text of its `.sig` file; by default, with `publicKey`, that file is beside it
 * @property {Uint8Array | string} [publicKey] 32 bytes or PEM: only models that are signed with it are taken
 * @property {string | URL} [wasm] folder of LiteRT.js's WebAssembly files
 */

const CURRENT = 'current';
const PREVIOUS = 'previous';

/** One model in service. */
export class ModelSlot {
  #name;
  #options;
  /** @type {Stored} */
  #stored;
  /** @type {Recommender | Ranker} */
  #model;
  /** @type {Recommender | Ranker | null} */
  #replaced = null;

  /**
   * @param {string} name
   * @param {SlotOptions} options
   * @param {Stored} stored
   * @param {Recommender | Ranker} model
   */
  constructor(name, options, stored, model) {
    this.#name = name;
    this.#options = options;
    this.#stored = stored;
    this.#model = model;
  }

  /**
   * Load the model that was put in service last, or the one that comes with the app.
   *
   * @param {string} name of the slot, within this origin
   * @param {SlotOptions} options
   * @returns {Promise<ModelSlot>}
   * @throws {BundleError} none of them can be used
   */
  static async open(name, options) {
    for (const place of [CURRENT, PREVIOUS]) {
      const stored = await read(name, place);
      if (!stored) continue;
      try {
        await check(stored, options);
        return new ModelSlot(name, options, stored, await load(await Bundle.read(stored.content), options));
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
      }
    }
    const content = await contentOf(options.initial);
    const stored = { content, signature: options.signature ?? null };
    if (options.publicKey && stored.signature === null)
      stored.signature = new TextDecoder().decode(await contentOf(`${options.initial}.sig`));
    await check(stored, options);
    return new ModelSlot(name, options, stored, await load(await Bundle.read(content), options));
  }

  /** The model in service. A replaced one goes on answering until the next replacement. */
  get model() {
    return this.#model;
  }

  /**
   * Check a new model and put it in service; whatever is wrong with it, the old one stays.
   *
   * @param {Uint8Array | ArrayBuffer} content of the whole file
   * @param {{signature?: string | null, allowDowngrade?: boolean, allowOtherCatalogue?: boolean}} [options] `signature`: the
   *     text of its `.sig` file; `allowDowngrade`: take a lower release; `allowOtherCatalogue`: take a model without a common
   *     item
   * @returns {Promise<void>}
   * @throws {BundleError} it is refused
   */
  async replace(content, { signature = null, allowDowngrade = false, allowOtherCatalogue = false } = {}) {
    // A copy, so that nothing can change it after it was checked.
    const stored = { content: new Uint8Array(content).slice(), signature };
    await this.#exclusively(async () => {
      await check(stored, this.#options);
      const bundle = await Bundle.read(stored.content);
      const old = this.#model.bundle;
      if (bundle.contract.kind !== old.contract.kind) {
        throw new BundleError(`a ${bundle.contract.kind} model cannot replace a ${old.contract.kind} model`);
      }
      if (bundle.release < old.release && !allowDowngrade) {
        throw new BundleError(
          `release ${bundle.release} is older than the release ${old.release} in service; refusing it`,
        );
      }
      const known = new Set(old.items.slice(1));
      if (
        bundle.contract.kind === 'retrieval' &&
        !allowOtherCatalogue &&
        !bundle.items.some((item) => known.has(item))
      ) {
        throw new BundleError('the model has no item in common with the one in service; refusing it');
      }
      await this.#serve(bundle, stored, this.#stored);
    });
  }

  /**
   * Put the model before the current one back in service; the two change places.
   *
   * @returns {Promise<void>}
   * @throws {BundleError} there is none, or it is refused
   */
  async rollback() {
    await this.#exclusively(async () => {
      const stored = await read(this.#name, PREVIOUS);
      if (!stored) throw new BundleError('there is no previous model to go back to');
      await check(stored, this.#options);
      await this.#serve(await Bundle.read(stored.content), stored, this.#stored);
    });
  }

  /** Free the memory of the model in service. */
  async close() {
    await Promise.all([this.#model.close(), this.#replaced?.close()]);
  }

  /**
   * @param {Bundle} bundle
   * @param {Stored} stored
   * @param {Stored} previous
   */
  async #serve(bundle, stored, previous) {
    if (equal(stored.content, this.#stored.content)) return;
    const model = await load(bundle, this.#options);
    try {
      const { passed, failed } = await checkGolden(model);
      if (failed || !passed) {
        throw new BundleError(
          failed ? `${failed} golden vectors fail here; refusing the model` : 'has no golden vectors',
        );
      }
      await write(this.#name, { [CURRENT]: stored, [PREVIOUS]: previous });
    } catch (error) {
      await model.close();
      throw error;
    }
    // Callers may still be in the middle of a list of the old model: it is closed one replacement later.
    const outdated = this.#replaced;
    this.#replaced = this.#model;
    [this.#model, this.#stored] = [model, stored];
    await outdated?.close();
  }

  /** @param {() => Promise<void>} change */
  #exclusively(change) {
    return navigator.locks.request(`edgerec ${this.#name}`, change);
  }
}

/** @param {Stored} stored @param {SlotOptions} options */
async function check({ content, signature }, { publicKey }) {
  if (publicKey) await checkSignature(content, signature, publicKey);
}

/** @param {Bundle} bundle @param {SlotOptions} options */
function load(bundle, { wasm }) {
  return bundle.contract.kind === 'ranking' ? Ranker.load(bundle, { wasm }) : Recommender.load(bundle, { wasm });
}

/** @param {Uint8Array} one @param {Uint8Array} other */
function equal(one, other) {
  return one.length === other.length && one.every((byte, place) => byte === other[place]);
}

/** @returns {Promise<IDBDatabase>} */
function database() {
  const opening = indexedDB.open('edgerec', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('models');
  return outcome(opening);
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function outcome(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {string} name @param {string} place @returns {Promise<Stored | undefined>} */
async function read(name, place) {
  const opened = await database();
  try {
    return await outcome(opened.transaction('models').objectStore('models').get(`${name}/${place}`));
  } finally {
    opened.close();
  }
}

/**
 * Write several models in one transaction: all of them, or none.
 *
 * @param {string} name
 * @param {Record<string, Stored>} models
 */
async function write(name, models) {
  const opened = await database();
  try {
    const transaction = opened.transaction('models', 'readwrite', { durability: 'strict' });
    for (const [place, stored] of Object.entries(models))
      transaction.objectStore('models').put(stored, `${name}/${place}`);
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    opened.close();
  }
}
