/**
 * Recommendations in the browser, from a bundle and a history of raw item ids.
 *
 *     import { Recommender } from './edgerec/recommender.js';
 *     const recommender = await Recommender.load('model.tflite');
 *     for (const entry of await recommender.recommend(['1029743', '995242'], { k: 5, explain: true })) {
 *       console.log(entry.item, entry.title, entry.score, entry.because);
 *     }
 *
 * "Rows" are row numbers of the item table: 1 to N for the items by falling popularity, the values of user features behind
 * them, and 0 for padding.
 */

import { Bundle, contentOf, rowsOf } from './bundle.js';
import { BundleError } from './errors.js';
import { reasons } from './reasons.js';
import { Model, loadRuntime } from './runtime.js';
import { capsOf, topRows, withinCaps } from './selection.js';
import { State } from './state.js';
import { userRows } from './user_features.js';

export { Bundle } from './bundle.js';
export { BundleError } from './errors.js';
export { ModelSlot } from './model_slot.js';
export { Ranker } from './ranker.js';
export { checkGolden } from './golden.js';
export { State } from './state.js';
export { loadRuntime } from './runtime.js';

/**
 * @typedef {object} Recommendation
 * @property {string} item its raw id
 * @property {number} score higher is better; comparable within one call
 * @property {string} title "" where the bundle has none
 * @property {string | null} because raw id of the event that contributed most to it, if it was asked for
 */

/**
 * @typedef {Recommendation[] & {unknown: number, source: 'model' | 'popularity'}} Recommendations the best first;
 *     `unknown` events of the history are not in the catalogue and were skipped
 */

/**
 * @typedef {object} Filters
 * @property {number} [k] how many items (10)
 * @property {Iterable<string>} [exclude] ids never to return
 * @property {Iterable<string> | null} [allow] the only ids to return
 * @property {Record<string, number>} [atMost] the most items of each value of an attribute, as in `{category: 3}`
 */

/**
 * @typedef {Filters & {
 *   excludeHistory?: boolean | null,
 *   user?: Record<string, unknown> | null,
 *   explain?: boolean,
 * }} Options `excludeHistory`: never return an item of the history (default: as the model was measured); `user`: values of
 *     the model's user features; `explain`: say which event contributed most (up to 21 more calls of the model)
 */

/** @typedef {(excluded: readonly number[], wanted: readonly string[]) => Promise<Record<string, any>>} Run */

const FILTERS = ['k', 'exclude', 'allow', 'atMost'];
const OPTIONS = [...FILTERS, 'excludeHistory', 'user', 'explain'];
const LISTED = ['ids', 'scores'];
// Items that `similar` takes for the average one.
const SAMPLE = 64;

/** A loaded retrieval bundle. */
export class Recommender {
  #model;
  /** @type {Map<string, number>} */
  #rowOf;
  /** @type {Float32Array | null} what `similar` compares with */
  #typical = null;

  /**
   * @param {Bundle} bundle
   * @param {import('./contract.js').Retrieval} contract
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
   * Check a bundle, load its model, and run it once to see that it fits its vocabulary.
   *
   * @param {string | URL | Uint8Array | ArrayBuffer | Bundle} source where the bundle is, its content, or the bundle
   * @param {{wasm?: string | URL}} [options] folder of LiteRT.js's WebAssembly files
   * @returns {Promise<Recommender>}
   * @throws {BundleError} it is not a retrieval bundle, damaged, or does not fit its own vocabulary
   */
  static async load(source, { wasm } = {}) {
    const [bundle] = await Promise.all([
      source instanceof Bundle ? source : Bundle.read(await contentOf(source)),
      loadRuntime(wasm),
    ]);
    const { contract } = bundle;
    if (contract.kind !== 'retrieval') throw new BundleError('a ranking model, not a retrieval model; use Ranker');
    const signatures = ['recommend'];
    if (contract.state) signatures.push('advance', 'recommend_from_state');
    if (contract.neighbours) signatures.push('links');
    const recommender = new Recommender(bundle, contract, await Model.load(bundle.flatbuffer, signatures));
    try {
      await recommender.#check();
    } catch (error) {
      await recommender.close();
      throw error;
    }
    return recommender;
  }

  /**
   * The `k` best items after a history.
   *
   * @param {Iterable<string>} history raw ids, oldest first; the model reads the last known ones
   * @param {Options} [options]
   * @returns {Promise<Recommendations>}
   * @throws {TypeError} `history`, `exclude` or `allow` is one string, or holds an id that is not a string
   * @throws {RangeError} `k` is below 1, or a user feature or attribute is unknown
   */
  async recommend(history, options = {}) {
    const { excludeHistory, user, explain } = known(options, OPTIONS);
    const events = texts(history, 'history');
    const rows = this.#known(events);
    const read = this.#read(rows, user);
    const banned = new Set(this.#rows(options.exclude ?? [], 'exclude'));
    if (excludeHistory ?? this.bundle.excludeHistory) for (const row of rows) banned.add(row);
    const run = read.length ? this.#after(read) : null;
    const list = await this.#listed(run, banned, options, explain ? read : null);
    return Object.assign(list, { unknown: events.length - rows.length });
  }

  /**
   * The `k` items nearest to one: those that the model expects after it so much more than after an average item. The first
   * call runs the model 65 times, later ones once.
   *
   * @param {string} item raw id
   * @param {Filters} [options]
   * @returns {Promise<Recommendations>}
   * @throws {RangeError} the item is not in the catalogue
   */
  async similar(item, options = {}) {
    known(options, FILTERS);
    const [row] = this.#rows([item], 'item');
    if (!row) throw new RangeError(`the item ${JSON.stringify(item)} is not in the catalogue`);
    const banned = new Set([row, ...this.#rows(options.exclude ?? [], 'exclude')]);
    const select = this.#selection(banned, options);
    this.#typical ??= await this.#typicalScores();
    const typical = this.#typical;
    const scores = (await this.#itemScores([row])).map((score, place) => score - typical[place]);
    const rows = select(scores);
    return this.#entries(
      rows,
      rows.map((one) => scores[one]),
      [],
      'model',
    );
  }

  /**
   * The model's score of each candidate after a history, NaN for an unknown one.
   *
   * @param {Iterable<string>} history
   * @param {Iterable<string>} candidates
   * @param {{user?: Record<string, unknown> | null}} [options]
   * @returns {Promise<number[]>}
   */
  async score(history, candidates, options = {}) {
    const { user } = known(options, ['user']);
    const read = this.#read(this.#rows(history, 'history'), user);
    const wanted = texts(candidates, 'candidates');
    const scores = read.length ? await this.#itemScores(read) : null;
    return wanted.map((item) => {
      const row = this.#rowOf.get(item);
      return row ? (scores?.[row] ?? 0) : NaN;
    });
  }

  /**
   * The state before any event, for `advance` and `recommendFromState`.
   *
   * @param {Record<string, unknown> | null} [user] values of the model's user features
   * @returns {Promise<State>}
   * @throws {BundleError} the model is not recurrent, so it has no state
   */
  async newState(user) {
    if (!this.contract.state) throw new BundleError('not a recurrent model, so it has no state; use recommend()');
    let state = new State(new Float32Array(this.contract.state), this.bundle.fingerprint);
    for (const row of userRows(this.bundle.userFeatures, user ?? {})) state = await this.#advanced(state, row);
    return state;
  }

  /**
   * The state after one more event. An id that is not in the catalogue changes nothing.
   *
   * @param {State} state
   * @param {string} item raw id
   * @returns {Promise<State>}
   * @throws {RangeError} the state belongs to another bundle
   */
  async advance(state, item) {
    this.#checkState(state);
    const [row] = this.#rows([item], 'item');
    return row ? this.#advanced(state, row) : state;
  }

  /**
   * The `k` best items after a stored state. It cannot name the items of the history: exclude them unless they may come
   * again.
   *
   * @param {State} state
   * @param {Filters} [options]
   * @returns {Promise<Recommendations>}
   */
  async recommendFromState(state, options = {}) {
    known(options, FILTERS);
    this.#checkState(state);
    const { state: size, recent, maxExclude } = this.contract;
    /** @type {Record<string, [Float32Array | Int32Array, number[]]>} */
    const given = { state: [state.values, [1, size]] };
    if (recent) given.recent = [leftPadded(state.recent, recent), [1, recent]];
    /** @type {Run} */
    const run = (excluded, wanted) =>
      this.#model.run(
        'recommend_from_state',
        { ...given, exclude: [padded(excluded, maxExclude), [1, maxExclude]] },
        wanted,
      );
    const banned = new Set(this.#rows(options.exclude ?? [], 'exclude'));
    return this.#listed(state.empty ? null : run, banned, options, null);
  }

  /**
   * Rows and scores of the best items for rows that the model reads, such as those of a golden vector.
   *
   * @param {readonly number[]} history
   * @param {readonly number[]} exclude
   * @param {number} k
   * @returns {Promise<{rows: number[], scores: number[]}>}
   */
  recommendRows(history, exclude, k) {
    return this.#best(this.#after(history), new Set(exclude), { k });
  }

  /** Free the model's memory, after the calls that are under way. */
  close() {
    return this.#model.close();
  }

  /**
   * @param {Run | null} run null for popularity
   * @param {Set<number>} banned
   * @param {Filters} options
   * @param {readonly number[] | null} read what the model read, if reasons are wanted
   * @returns {Promise<Recommendations>}
   */
  async #listed(run, banned, options, read) {
    const { rows, scores } = await this.#best(run, banned, options);
    const because = run && read ? await this.#reasons(rows, scores, read) : [];
    return this.#entries(rows, scores, because, run ? 'model' : 'popularity');
  }

  /**
   * @param {readonly number[]} rows
   * @param {readonly number[]} scores
   * @param {readonly number[]} because rows of the reasons, 0 for none
   * @param {'model' | 'popularity'} source
   * @returns {Recommendations}
   */
  #entries(rows, scores, because, source) {
    const { items, titles } = this.bundle;
    const list = rows.map((row, place) => ({
      item: items[row],
      score: scores[place],
      title: titles[row] ?? '',
      because: because[place] ? items[because[place]] : null,
    }));
    return Object.assign(list, { unknown: 0, source });
  }

  /**
   * @param {Run | null} run
   * @param {Set<number>} banned
   * @param {Filters} options
   */
  async #best(run, banned, options) {
    const select = this.#selection(banned, options);
    const { k = 10, allow, atMost } = options;
    const { topK, maxExclude, items } = this.contract;
    const excluded = [...banned].filter((row) => row <= items); // user features are never recommended
    const ruled = (allow ?? null) !== null || Object.keys(atMost ?? {}).length > 0;
    if (run && k <= topK && excluded.length <= maxExclude && !ruled) {
      const out = await run(excluded, LISTED);
      const places = [...Array(k).keys()].filter((place) => out.ids[place] > 0);
      return { rows: places.map((place) => out.ids[place]), scores: places.map((place) => out.scores[place]) };
    }
    const all = run ? (await run([], ['item_scores'])).item_scores : new Float32Array(items + 1);
    const rows = select(all);
    return { rows, scores: rows.map((row) => all[row]) };
  }

  /**
   * What takes the best rows of scores, float32 [N + 1], within the caller's rules.
   *
   * @param {Set<number>} banned
   * @param {Filters} options
   * @returns {(scores: Float32Array) => number[]}
   */
  #selection(banned, { k = 10, allow, atMost }) {
    if (!Number.isInteger(k)) throw new TypeError(`k is ${k}, not a whole number`);
    if (k < 1) throw new RangeError(`k is ${k}; ask for at least one item`);
    const { items } = this.contract;
    const caps = capsOf(atMost ?? {}, this.bundle.attributes);
    const allowed = allow === undefined || allow === null ? null : new Set(this.#rows(allow, 'allow'));
    /** @param {number} row */
    const permitted = (row) => !banned.has(row) && (!allowed || allowed.has(row));
    const most = Math.min(k, items);
    return (scores) => {
      if (!caps.length) return topRows(scores, most, permitted);
      const enough = withinCaps(topRows(scores, Math.min(4 * most, items), permitted), most, caps);
      return enough.length === most ? enough : withinCaps(topRows(scores, items, permitted), most, caps);
    };
  }

  /** @param {readonly number[]} rows @param {readonly number[]} scores @param {readonly number[]} read */
  #reasons(rows, scores, read) {
    const { items, maxHistory, neighbours } = this.contract;
    const links = async () => {
      const { items: targets, weights } = await this.#model.run(
        'links',
        { history: [leftPadded(read, maxHistory), [1, maxHistory]] },
        ['items', 'weights'],
      );
      return {
        targets: /** @type {Int32Array} */ (targets),
        weights: /** @type {Float32Array} */ (weights),
        neighbours,
      };
    };
    return reasons(rows, scores, read, items, neighbours ? links : null, (rest) => this.#itemScores(rest));
  }

  /** @param {readonly number[]} read @returns {Promise<Float32Array>} scores of all rows before exclusion */
  async #itemScores(read) {
    return (await this.#after(read)([], ['item_scores'])).item_scores;
  }

  /** The mean scores after a history of one item, for items that are spread evenly over the catalogue. */
  async #typicalScores() {
    const { items } = this.contract;
    const step = (items - 1) / (SAMPLE - 1);
    const places = Array.from({ length: SAMPLE }, (_, place) =>
      Math.trunc(place === SAMPLE - 1 ? items : 1 + place * step),
    );
    const total = new Float64Array(items + 1);
    const sample = new Set(places);
    for (const row of sample) (await this.#itemScores([row])).forEach((score, place) => (total[place] += score));
    return Float32Array.from(total, (sum) => sum / sample.size);
  }

  /** @param {readonly number[]} read @returns {Run} */
  #after(read) {
    const { maxHistory, maxExclude } = this.contract;
    return (excluded, wanted) =>
      this.#model.run(
        'recommend',
        {
          history: [leftPadded(read, maxHistory), [1, maxHistory]],
          exclude: [padded(excluded, maxExclude), [1, maxExclude]],
        },
        wanted,
      );
  }

  /**
   * The rows that the model reads: the user's known values, then the last events.
   *
   * @param {number[]} rows
   * @param {Record<string, unknown> | null} [user]
   */
  #read(rows, user) {
    const values = userRows(this.bundle.userFeatures, user ?? {});
    return [...values, ...rows.slice(-(this.contract.maxHistory - values.length))];
  }

  /** @param {Iterable<string>} ids @param {string} argument @returns {number[]} rows of the known ids */
  #rows(ids, argument) {
    return this.#known(texts(ids, argument));
  }

  /** @param {readonly string[]} ids @returns {number[]} */
  #known(ids) {
    return ids.flatMap((id) => this.#rowOf.get(id) ?? []);
  }

  /** @param {State} state @param {number} row */
  async #advanced(state, row) {
    const { state: size, recent: most, items } = this.contract;
    const given = {
      state: /** @type {any} */ ([state.values, [1, size]]),
      item: /** @type {any} */ ([Int32Array.of(row), [1]]),
    };
    const { state: values } = await this.#model.run('advance', given, ['state']);
    const recent = most && row <= items ? Int32Array.of(...state.recent, row).slice(-most) : state.recent;
    return new State(/** @type {Float32Array} */ (values), state.fingerprint, recent);
  }

  /** @param {State} state */
  #checkState(state) {
    if (!(state instanceof State)) throw new TypeError('the state is not a State; begin with newState()');
    const { state: size, recent, items } = this.contract;
    if (state.fingerprint !== this.bundle.fingerprint) {
      throw new RangeError('the state belongs to another bundle; begin again with newState() and the history');
    }
    if (state.values.length !== size) throw new RangeError(`the state has ${state.values.length} values, not ${size}`);
    if (state.recent.length > recent || state.recent.some((row) => row > items)) {
      throw new RangeError('the state has recent rows that the model does not have');
    }
  }

  /** Check the shapes of the signatures, and run the model on its last row. */
  async #check() {
    const { maxHistory, maxExclude, topK, items, state, recent, neighbours } = this.contract;
    const [history, exclude] = [`int32 [1, ${maxHistory}]`, `int32 [1, ${maxExclude}]`];
    const listed = {
      ids: `int32 [1, ${topK}]`,
      scores: `float32 [1, ${topK}]`,
      item_scores: `float32 [1, ${items + 1}]`,
    };
    this.#checkShapes('recommend', { history, exclude }, listed);
    if (state) {
      const values = `float32 [1, ${state}]`;
      this.#checkShapes('advance', { state: values, item: 'int32 [1]' }, { state: values });
      const given = { state: values, exclude, ...(recent ? { recent: `int32 [1, ${recent}]` } : {}) };
      this.#checkShapes('recommend_from_state', given, listed);
    }
    const last = items + rowsOf(this.bundle.userFeatures);
    try {
      await this.#after([last])([], LISTED);
      if (neighbours) {
        const links = this.#model.shapes('links').outputs;
        const positions = Number(/^int32 \[1, (\d+), \d+\]$/.exec(links.items ?? '')?.[1] ?? 0);
        if (positions < 1 || positions > maxHistory)
          throw new RangeError(`the output items of links is ${links.items}`);
        const shape = `[1, ${positions}, ${neighbours}]`;
        this.#checkShapes('links', { history }, { items: `int32 ${shape}`, weights: `float32 ${shape}` });
        await this.#model.run('links', { history: [leftPadded([last], maxHistory), [1, maxHistory]] }, ['weights']);
      }
    } catch (error) {
      throw new BundleError(
        `the model fails on row ${last}, its last: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  /**
   * @param {string} signature
   * @param {Record<string, string>} inputs
   * @param {Record<string, string>} outputs
   */
  #checkShapes(signature, inputs, outputs) {
    const actual = this.#model.shapes(signature);
    const sound =
      Object.keys(actual.inputs).length === Object.keys(inputs).length &&
      Object.entries(inputs).every(([name, shape]) => actual.inputs[name] === shape) &&
      Object.entries(outputs).every(([name, shape]) => actual.outputs[name] === shape);
    if (!sound) {
      const [has, says] = [actual, { inputs, outputs }].map((shapes) => JSON.stringify(shapes));
      throw new BundleError(`the signature ${signature} is ${has}, the manifest says ${says}`);
    }
  }
}

/**
 * @template {object} T
 * @param {T} options
 * @param {readonly string[]} names
 * @returns {T}
 */
function known(options, names) {
  const strange = Object.keys(options).find((name) => !names.includes(name));
  if (strange) throw new TypeError(`there is no option ${JSON.stringify(strange)}; there are: ${names.join(', ')}`);
  return options;
}

/**
 * @param {Iterable<string>} ids
 * @param {string} argument
 * @returns {string[]}
 */
function texts(ids, argument) {
  if (typeof ids === 'string' || typeof ids?.[Symbol.iterator] !== 'function') {
    throw new TypeError(`${argument} is ${JSON.stringify(ids)}; pass a list of item ids`);
  }
  const list = [...ids];
  const strange = list.find((one) => typeof one !== 'string');
  if (strange !== undefined || list.includes(/** @type {any} */ (undefined))) {
    throw new TypeError(`${argument} has ${JSON.stringify(strange)}, but item ids are strings`);
  }
  return list;
}

/** @param {readonly number[] | Int32Array} rows @param {number} length */
function leftPadded(rows, length) {
  const all = new Int32Array(length);
  const last = rows.slice(-length);
  all.set(last, length - last.length);
  return all;
}

/** @param {readonly number[]} rows @param {number} length */
function padded(rows, length) {
  const all = new Int32Array(length);
  all.set(rows);
  return all;
}
