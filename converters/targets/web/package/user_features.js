/** User features: each value is a row of the item table, which the model reads before the history. */

import { isCount, isObject } from './contract.js';

/**
 * @typedef {object} UserFeature
 * @property {string} name
 * @property {number} first row of its first value
 * @property {string[]} values of a categorical feature; empty for a numeric one
 * @property {number[]} edges the bounds between the ranges of a numeric feature
 * @property {number} rows how many rows it has
 */

/**
 * @param {unknown} entries `user_features` of the manifest
 * @param {import('./contract.js').Retrieval} contract
 * @returns {UserFeature[]}
 * @throws {RangeError} they are malformed
 */
export function userFeaturesOf(entries, contract) {
  if (!Array.isArray(entries)) throw new RangeError('has a malformed list of user features');
  let first = contract.items + 1;
  const features = entries.map((entry) => {
    const { name, values, edges } = isObject(entry) ? entry : {};
    const sound =
      typeof name === 'string' &&
      isCount(entry.first) &&
      Array.isArray(values) &&
      Array.isArray(edges) &&
      !(values.length && edges.length) &&
      values.every((value) => typeof value === 'string') &&
      edges.every((edge, place) => Number.isFinite(edge) && (!place || edges[place - 1] < edge));
    if (!sound) throw new RangeError(`has a malformed user feature ${JSON.stringify(name)}`);
    if (entry.first !== first) throw new RangeError(`has the user feature ${name} at row ${entry.first}, not ${first}`);
    const rows = values.length || edges.length + 1;
    first += rows;
    return { name, first: entry.first, values, edges, rows };
  });
  if (features.length && features.length >= contract.maxHistory) {
    throw new RangeError(`has ${features.length} user features, which leave no place for a history`);
  }
  return features;
}

/**
 * Rows of a user's known values, in the order of the features.
 *
 * @param {readonly UserFeature[]} features
 * @param {Record<string, unknown>} user
 * @returns {number[]}
 * @throws {RangeError} `user` names a feature that the model does not have
 */
export function userRows(features, user) {
  const strange = Object.keys(user).filter((name) => !features.some((feature) => feature.name === name));
  if (strange.length) {
    const known = features.map((feature) => feature.name).join(', ') || 'none';
    throw new RangeError(`the model knows no user feature ${strange.join(', ')}; it has: ${known}`);
  }
  return features.flatMap((feature) => {
    const row = Object.hasOwn(user, feature.name) ? rowOf(feature, user[feature.name]) : 0;
    return row ? [row] : [];
  });
}

const DECIMAL = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/**
 * @param {UserFeature} feature
 * @param {unknown} value
 * @returns {number} 0 if it is absent or unknown
 */
function rowOf(feature, value) {
  if (value === null || value === undefined) return 0;
  if (feature.values.length) {
    const place = feature.values.indexOf(String(value).trim());
    return place < 0 ? 0 : feature.first + place;
  }
  const number = typeof value !== 'string' || DECIMAL.test(value) ? Number(value) : NaN;
  if (Number.isNaN(number)) return 0;
  return feature.first + feature.edges.filter((edge) => edge <= number).length;
}
