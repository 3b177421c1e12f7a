/** Contracts: what the signatures of a model look like. */

/**
 * @typedef {object} Retrieval
 * @property {'retrieval'} kind
 * @property {number} maxHistory rows that the model reads
 * @property {number} maxExclude rows that the graph itself leaves out
 * @property {number} topK items that the graph itself lists
 * @property {number} items
 * @property {number} state floats of the state; 0: there is none
 * @property {number} recent newest item rows that are read beside the state
 * @property {number} neighbours transitions of each item; 0: there are none
 */

/**
 * @typedef {object} Ranking
 * @property {'ranking'} kind
 * @property {number} candidates candidates of one call of the model
 * @property {Record<string, 'float32' | 'int32'>} inputs
 */

/** @param {unknown} value @returns {value is number} */
export const isCount = (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** @param {unknown} value @returns {value is Record<string, any>} */
export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * @param {any} entry the entry `contract` of the manifest
 * @returns {Retrieval | Ranking}
 * @throws {RangeError} it is malformed
 */
export function contractOf(entry) {
  if (!isObject(entry)) throw new RangeError('has no contract');
  const kind = 'kind' in entry ? entry.kind : 'retrieval';
  if (kind === 'retrieval') return retrieval(entry);
  if (kind === 'ranking') return ranking(entry);
  throw new RangeError(`is of the unknown kind ${JSON.stringify(kind)}`);
}

/** @param {Record<string, any>} entry @returns {Retrieval} */
function retrieval(entry) {
  const sizes = [entry.max_history, entry.max_exclude, entry.top_k, entry.items];
  if (!sizes.every((size) => isCount(size) && size > 0)) throw new RangeError('lacks the sizes of the signature');
  const [state, recent, neighbours] = ['state', 'recent', 'neighbours'].map((name) =>
    name in entry ? entry[name] : 0,
  );
  if (![state, recent, neighbours].every(isCount)) throw new RangeError('has sizes that are not counts');
  if (neighbours && !recent) throw new RangeError('has neighbours, but no recent rows to read them for');
  const [maxHistory, maxExclude, topK, items] = sizes;
  return { kind: 'retrieval', maxHistory, maxExclude, topK, items, state, recent, neighbours };
}

/** @param {Record<string, any>} entry @returns {Ranking} */
function ranking(entry) {
  const { candidates, inputs } = entry;
  if (!isCount(candidates) || !candidates || !isObject(inputs) || !Object.keys(inputs).length) {
    throw new RangeError('lacks the number of candidates or the inputs of the signature score');
  }
  if (!Object.values(inputs).every((dtype) => dtype === 'float32' || dtype === 'int32')) {
    throw new RangeError('has malformed inputs of the signature score');
  }
  return { kind: 'ranking', candidates, inputs };
}
