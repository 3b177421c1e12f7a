/** Features of a ranking model: how values become its inputs. */

import { isCount, isObject } from './contract.js';

const OF = ['user', 'item', 'context'];
const TYPES = ['number', 'category', 'categories'];
// Inputs that are no features of the user, the moment or an item: whose they are, and of which types.
/** @type {Record<string, {of: string, types: string[]}>} */
const RESERVED = {
  item: { of: 'item', types: ['category', 'items'] },
  history: { of: 'history', types: ['items', 'categories'] },
  history_values: { of: 'history', types: ['number'] },
  retrieval_score: { of: 'retrieval', types: ['number'] },
};
const MOST_PLACES = 65536;

/**
 * @typedef {object} Feature
 * @property {string} input name of the model's input
 * @property {string} name what the app calls it
 * @property {'user' | 'item' | 'context' | 'history' | 'retrieval'} of
 * @property {'number' | 'category' | 'categories' | 'items'} type
 * @property {number} size places for several categories or events; 0: one value
 * @property {Map<string, number>} places of the values, from 1 on
 */

/**
 * @param {unknown} document `features.json`; the input `item` needs no entry
 * @param {import('./contract.js').Ranking} contract
 * @returns {Feature[]}
 * @throws {RangeError} it is malformed
 */
export function featuresOf(document, contract) {
  if (!Array.isArray(document)) throw new RangeError('is not a list');
  const features = document.map(feature);
  if ('item' in contract.inputs && !features.some(({ input }) => input === 'item')) {
    features.unshift({ input: 'item', name: 'item', of: 'item', type: 'items', size: 0, places: new Map() });
  }
  const inputs = new Set(features.map(({ input }) => input));
  const described =
    inputs.size === features.length &&
    inputs.size === Object.keys(contract.inputs).length &&
    features.every(({ input, type }) => contract.inputs[input] === (type === 'number' ? 'float32' : 'int32'));
  if (!described) throw new RangeError('has not one entry for each input of the model');
  const names = new Set(features.map(({ of, name }) => `${of} ${name}`));
  if (names.size !== features.length) throw new RangeError('has a feature twice');
  const [history, values] = ['history', 'history_values'].map((name) => features.find(({ input }) => input === name));
  if (values && values.size !== history?.size)
    throw new RangeError('has history_values of another size than the history');
  return features;
}

/** @param {any} entry @returns {Feature} */
function feature(entry) {
  const { input, name, of, type, values = [], size = 0 } = isObject(entry) ? entry : {};
  const sound =
    [input, name, of, type].every((text) => typeof text === 'string' && text) &&
    Array.isArray(values) &&
    values.every((value) => typeof value === 'string') &&
    new Set(values).size === values.length &&
    isCount(size) &&
    size <= MOST_PLACES;
  const reserved = sound && Object.hasOwn(RESERVED, input) ? RESERVED[input] : null;
  const fits = reserved
    ? reserved.of === of && reserved.types.includes(type) && name === input && (of === 'history') === size > 0
    : OF.includes(of) && TYPES.includes(type) && (type === 'categories') === size > 0;
  const taken = !reserved && of === 'item' && Object.hasOwn(RESERVED, name ?? '');
  if (!sound || !fits || taken) throw new RangeError(`has a malformed entry ${JSON.stringify(input)}`);
  return { input, name, of, type, size, places: new Map(values.map((value, place) => [value, place + 1])) };
}

/**
 * @param {unknown} document `item_values.json`
 * @param {readonly Feature[]} features
 * @param {number} items
 * @returns {Map<string, any[]>} by name, the values of rows 1 to `items`
 * @throws {RangeError} it is malformed
 */
export function itemValuesOf(document, features, items) {
  if (!isObject(document)) throw new RangeError('is not an object');
  return new Map(
    Object.entries(document).map(([name, column]) => {
      const feature = features.find((one) => one.of === 'item' && one.input !== 'item' && one.name === name);
      if (!feature) throw new RangeError(`has values of ${JSON.stringify(name)}, which is no feature of items`);
      /** @param {unknown} place */
      const isPlace = (place) => isCount(place) && place <= feature.places.size;
      const sound = {
        number: (/** @type {unknown} */ value) => value === null || Number.isFinite(value),
        category: (/** @type {unknown} */ value) => value === null || isPlace(value),
        categories: (/** @type {unknown} */ value) => Array.isArray(value) && value.every(isPlace),
        items: () => false,
      }[feature.type];
      if (!Array.isArray(column) || column.length !== items || !column.every(sound)) {
        throw new RangeError(`has malformed values of ${JSON.stringify(name)}`);
      }
      return [name, column];
    }),
  );
}
