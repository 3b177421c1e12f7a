/** Features of a ranking model: how values become its inputs. */

import { isCount, isObject } from './contract.js';

const OF = ['user', 'item', 'context', 'history', 'retrieval'];
const TYPES = ['number', 'category', 'categories'];
// Inputs that the device fills by itself.
const RESERVED = new Set(['item', 'history', 'history_values', 'retrieval_score']);

/**
 * @typedef {object} Feature
 * @property {string} input name of the model's input
 * @property {string} name
 * @property {'user' | 'item' | 'context' | 'history' | 'retrieval'} of
 * @property {'number' | 'category' | 'categories'} type
 * @property {number} size places of `categories`, else 1
 * @property {Map<string, number>} places of the values, from 1 on
 * @property {boolean} reserved whether the device fills it by itself
 */

/**
 * @param {unknown} document `features.json`
 * @param {import('./contract.js').Ranking} contract
 * @returns {Feature[]}
 * @throws {RangeError} it is malformed
 */
export function featuresOf(document, contract) {
  if (!Array.isArray(document)) throw new RangeError('is not a list');
  const features = document.map((entry) => feature(entry, contract));
  const inputs = new Set(features.map((one) => one.input));
  if (inputs.size !== features.length || inputs.size !== Object.keys(contract.inputs).length) {
    throw new RangeError('has not one entry for each input of the model');
  }
  const names = new Set(features.map((one) => `${one.of} ${one.name}`));
  if (names.size !== features.length) throw new RangeError('names a feature twice');
  return features;
}

/**
 * @param {any} entry
 * @param {import('./contract.js').Ranking} contract
 * @returns {Feature}
 */
function feature(entry, contract) {
  if (!isObject(entry) || typeof entry.input !== 'string' || typeof entry.name !== 'string') {
    throw new RangeError('has an entry without an input or a name');
  }
  const { input, name, of, type, values = [], size = 1 } = entry;
  const reserved = RESERVED.has(input);
  const sound =
    OF.includes(of) &&
    TYPES.includes(type) &&
    isCount(size) &&
    size > 0 &&
    Array.isArray(values) &&
    values.every((value) => typeof value === 'string') &&
    new Set(values).size === values.length &&
    (reserved || !['history', 'retrieval'].includes(of));
  const dtype = type === 'number' ? 'float32' : 'int32';
  if (!sound || contract.inputs[input] !== dtype)
    throw new RangeError(`has a malformed entry ${JSON.stringify(input)}`);
  const places = new Map(values.map((value, place) => [value, place + 1]));
  return { input, name, of, type, size, places, reserved };
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
      const feature = features.find((one) => one.of === 'item' && !one.reserved && one.name === name);
      if (!feature) throw new RangeError(`has values of ${JSON.stringify(name)}, which is no feature of items`);
      /** @param {unknown} place */
      const isPlace = (place) => isCount(place) && place <= feature.places.size;
      const sound = {
        number: (/** @type {unknown} */ value) => value === null || Number.isFinite(value),
        category: isPlace,
        categories: (/** @type {unknown} */ value) => Array.isArray(value) && value.every((p) => isPlace(p) && p > 0),
      }[feature.type];
      if (!Array.isArray(column) || column.length !== items || !column.every(sound)) {
        throw new RangeError(`has malformed values of ${JSON.stringify(name)}`);
      }
      return [name, column];
    }),
  );
}
