/** Scores of given candidates, from a ranking bundle. */

import { Bundle, contentOf } from './bundle.js';
import { isObject } from './contract.js';
import { BundleError } from './errors.js';
import { Model, loadRuntime } from './runtime.js';

/** @typedef {import('./features.js').Feature} Feature */
/** @typedef {string | ({item?: string | null} & Record<string, unknown>)} Candidate a raw id, or one with values of its own */

// A larger number would be infinite in the model.
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** A loaded ranking bundle. */
export class Ranker {
  #model;
  /** @type {Map<string, number>} */
  #rowOf;

  /**
   * @param {Bundle} bundle
   * @param {import('./contract.js').Ranking} contract
   * @param {Model} model
   */
  constructor(bundle, contract, model) {
    this.bundle = bundle;
    this.contract = contract;
    this.#model = model;
    this.#rowOf = new Map(bundle.items.map((item, row) => [item, row]));
    this.#rowOf.delete('');
  }

  /**
   * Check a bundle, load its model, and run it once.
   *
   * @param {string | URL | Uint8Array | ArrayBuffer | Bundle} source
   * @param {{wasm?: string | URL}} [options] folder of LiteRT.js's WebAssembly files
   * @returns {Promise<Ranker>}
   * @throws {BundleError} it is not a ranking bundle, damaged, or its parts do not fit together
   */
  static async load(source, { wasm } = {}) {
    const [bundle] = await Promise.all([
      source instanceof Bundle ? source : Bundle.read(await contentOf(source)),
      loadRuntime(wasm),
    ]);
    const { contract } = bundle;
    if (contract.kind !== 'ranking') throw new BundleError('a retrieval model, not a ranking model; use Recommender');
    if (!bundle.features.length) throw new BundleError('has no features.json; convert the model again');
    const ranker = new Ranker(bundle, contract, await Model.load(bundle.flatbuffer, ['score']));
    try {
      await ranker.#check();
    } catch (error) {
      await ranker.close();
      throw error;
    }
    return ranker;
  }

  /**
   * The score of each candidate, in their order.
   *
   * @param {Record<string, unknown>} user values of the user features by name; absent ones are missing
   * @param {Iterable<Candidate>} candidates any number
   * @param {{
   *   context?: Record<string, unknown> | null,
   *   history?: Iterable<string> | null,
   *   historyValues?: Iterable<number | null> | null,
   *   retrievalScores?: Iterable<number | null> | null,
   * }} [options] `historyValues`: the label of each event of the history, such as its rating; `retrievalScores`: the score that
   *     a retrieval model gave each candidate
   * @returns {Promise<number[]>}
   * @throws {TypeError} a value has the wrong type
   * @throws {RangeError} a feature is unknown, or a number infinite
   */
  async score(user, candidates, { context, history, historyValues, retrievalScores } = {}) {
    const { candidates: chunk } = this.contract;
    const shared = this.#shared(user, context ?? {}, [...(history ?? [])], historyValues ? [...historyValues] : null);
    const wanted = [...candidates].map((candidate) => this.#candidate(candidate));
    const given = retrievalScores ? [...retrievalScores] : null;
    if (given && given.length !== wanted.length) {
      throw new RangeError(`there are ${given.length} retrieval scores for ${wanted.length} candidates`);
    }
    wanted.forEach((one, place) => {
      one.values = { ...(given ? { retrieval_score: given[place] } : {}), ...one.values };
    });
    const inputs = [];
    for (let first = 0; first < wanted.length; first += chunk) {
      inputs.push({ ...shared, ...this.#ofItems(wanted.slice(first, first + chunk)) });
    }
    /** @type {number[]} */
    const scores = [];
    for (const one of inputs) scores.push(...(await this.#model.run('score', one, ['scores'])).scores);
    return scores.slice(0, wanted.length);
  }

  /** Free the model's memory, after the calls that are under way. */
  close() {
    return this.#model.close();
  }

  /**
   * Inputs that all candidates share.
   *
   * @param {Record<string, unknown>} user
   * @param {Record<string, unknown>} context
   * @param {string[]} history
   * @param {(number | null)[] | null} historyValues
   */
  #shared(user, context, history, historyValues) {
    /** @type {Record<string, [Float32Array | Int32Array, number[]]>} */
    const inputs = {};
    const given = { user, context };
    for (const of of /** @type {const} */ (['user', 'context'])) {
      const features = this.#of(of);
      if (!isObject(given[of])) throw new TypeError(`${of} is not an object of values by name`);
      checkNames(given[of], features, of);
      for (const feature of features) {
        const tensor = emptyTensor(feature, 1);
        fill(tensor, feature, 0, own(given[of], feature.name));
        inputs[feature.input] = [tensor, shapeOf(feature, 1)];
      }
    }
    if (historyValues && historyValues.length !== history.length) {
      throw new RangeError(`there are ${historyValues.length} values for ${history.length} events of the history`);
    }
    const rows = history.map((item) => {
      if (typeof item !== 'string')
        throw new TypeError(`history has ${JSON.stringify(item)}, but item ids are strings`);
      return this.#rowOf.get(item) ?? 0;
    });
    for (const { input, size } of this.#of('history')) {
      const values = input === 'history' ? rows : rows.map((_, place) => number(historyValues?.[place], input));
      const read = values.filter((_, place) => rows[place]).slice(-size);
      const tensor = input === 'history' ? new Int32Array(size) : new Float32Array(size).fill(NaN);
      tensor.set(read, size - read.length);
      inputs[input] = [tensor, [1, size]];
    }
    return inputs;
  }

  /**
   * A candidate's row and the values that it brings.
   *
   * @param {Candidate} candidate
   * @returns {{row: number, values: Record<string, unknown>}}
   */
  #candidate(candidate) {
    const given = typeof candidate === 'string' ? { item: candidate } : candidate;
    if (!isObject(given))
      throw new TypeError(`the candidate ${JSON.stringify(given)} is no item id, which is a string`);
    const { item, ...values } = given;
    if (typeof (item ?? '') !== 'string') throw new TypeError(`the item id ${JSON.stringify(item)} is not a string`);
    const features = this.bundle.features.filter(
      ({ of, input }) => (of === 'item' && input !== 'item') || of === 'retrieval',
    );
    checkNames(values, features, 'item');
    return { row: this.#rowOf.get(item ?? '') ?? 0, values: /** @type {Record<string, unknown>} */ (values) };
  }

  /** @param {readonly {row: number, values: Record<string, unknown>}[]} part */
  #ofItems(part) {
    const { candidates } = this.contract;
    /** @type {Record<string, [Float32Array | Int32Array, number[]]>} */
    const inputs = {};
    for (const feature of [...this.#of('item'), ...this.#of('retrieval')]) {
      const tensor = emptyTensor(feature, candidates);
      part.forEach(({ row, values }, place) => {
        if (feature.input === 'item') tensor[place] = row;
        else if (Object.hasOwn(values, feature.name)) fill(tensor, feature, place, values[feature.name]);
        else if (row) fillStored(tensor, feature, place, this.bundle.itemValues.get(feature.name)?.[row - 1]);
      });
      inputs[feature.input] = [tensor, shapeOf(feature, candidates)];
    }
    return inputs;
  }

  /** @param {Feature['of']} of */
  #of(of) {
    return this.bundle.features.filter((feature) => feature.of === of);
  }

  /** Check the shapes of the signature, and run the model on its last item and its last categories. */
  async #check() {
    const { candidates } = this.contract;
    const { inputs, outputs } = this.#model.shapes('score');
    /** @type {Record<string, [Float32Array | Int32Array, number[]]>} */
    const last = {};
    for (const feature of this.bundle.features) {
      const lines = feature.of === 'item' || feature.of === 'retrieval' ? candidates : 1;
      const [tensor, shape] = [emptyTensor(feature, lines), shapeOf(feature, lines)];
      const expected = `${feature.type === 'number' ? 'float32' : 'int32'} [${shape.join(', ')}]`;
      if (inputs[feature.input] !== expected) {
        throw new BundleError(`the input ${feature.input} is ${inputs[feature.input] ?? 'absent'}, not ${expected}`);
      }
      const rows = feature.input === 'item' || feature.input === 'history';
      if (feature.type !== 'number') tensor.fill(rows ? this.bundle.items.length - 1 : feature.places.size);
      last[feature.input] = [tensor, shape];
    }
    if (Object.keys(inputs).length !== this.bundle.features.length || outputs.scores !== `float32 [${candidates}]`) {
      throw new BundleError('the signature score has other inputs or outputs than the manifest says');
    }
    try {
      await this.#model.run('score', last, ['scores']);
    } catch (error) {
      throw new BundleError(`the model fails on its last item: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/** @param {Feature} feature @param {number} count */
function shapeOf({ size }, count) {
  return size ? [count, size] : [count];
}

/** @param {Feature} feature @param {number} count @returns {Float32Array | Int32Array} all missing */
function emptyTensor({ type, size }, count) {
  return type === 'number' ? new Float32Array(count * (size || 1)).fill(NaN) : new Int32Array(count * (size || 1));
}

/**
 * Put a raw value of an app into a tensor.
 *
 * @param {Float32Array | Int32Array} tensor
 * @param {Feature} feature
 * @param {number} place
 * @param {unknown} value
 */
function fill(tensor, feature, place, value) {
  if (feature.type === 'number') {
    tensor[place] = number(value, feature.name);
  } else if (feature.type === 'category') {
    tensor[place] = feature.places.get(category(value, feature.name)) ?? 0;
  } else if (value !== null && value !== undefined && !Number.isNaN(value)) {
    if (typeof value === 'string' || typeof (/** @type {any} */ (value)[Symbol.iterator]) !== 'function') {
      throw new TypeError(`${feature.name} is ${JSON.stringify(value)}, not a list of categories`);
    }
    const all = [.../** @type {Iterable<unknown>} */ (value)].map(
      (one) => feature.places.get(category(one, feature.name)) ?? 0,
    );
    fillStored(tensor, feature, place, [...new Set(all)].filter(Boolean));
  }
}

/**
 * Put a value of `item_values.json` into a tensor.
 *
 * @param {Float32Array | Int32Array} tensor
 * @param {Feature} feature
 * @param {number} place
 * @param {any} value
 */
function fillStored(tensor, { type, size }, place, value) {
  if (value === null || value === undefined) return;
  if (type === 'categories') tensor.set(value.slice(0, size), place * size);
  else tensor[place] = value;
}

/** @param {unknown} value @param {string} name @returns {number} NaN for a missing one */
function number(value, name) {
  if (value === null || value === undefined) return NaN;
  if (typeof value !== 'number') throw new TypeError(`${name} is ${JSON.stringify(value)}, not a number`);
  if (Math.abs(value) > LARGEST) throw new RangeError(`${name} is infinite`);
  return value;
}

/** @param {unknown} value @param {string} name @returns {string} "" for a missing one */
function category(value, name) {
  if (value === null || value === undefined || Number.isNaN(value)) return '';
  if (typeof value === 'string') return value.trim();
  if (Number.isInteger(value)) return String(value);
  throw new TypeError(`${name} is ${JSON.stringify(value)}, not a category`);
}

/** @param {Record<string, unknown>} values @param {string} name */
const own = (values, name) => (Object.hasOwn(values, name) ? values[name] : undefined);

/**
 * @param {Record<string, unknown>} values
 * @param {readonly Feature[]} features
 * @param {string} of
 */
function checkNames(values, features, of) {
  const strange = Object.keys(values).find((name) => !features.some((feature) => feature.name === name));
  if (strange !== undefined) {
    const known = features.map((feature) => feature.name).join(', ') || 'none';
    throw new RangeError(`the model knows no ${of} feature ${JSON.stringify(strange)}; it has: ${known}`);
  }
}
