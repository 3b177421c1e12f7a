/** Attributes of the items, such as their category: what `atMost` keeps a list diverse by. */

import { isCount, isObject } from './contract.js';

/**
 * @typedef {object} Attribute
 * @property {string[]} values the different values
 * @property {number[][]} rows places in `values` of each item, from row 1 on
 */

/**
 * @param {unknown} document `attributes.json`
 * @param {number} items
 * @returns {Map<string, Attribute>}
 * @throws {RangeError} it is malformed
 */
export function attributesOf(document, items) {
  if (!isObject(document)) throw new RangeError('is not an object');
  return new Map(
    Object.entries(document).map(([name, entry]) => {
      const { values, rows } = isObject(entry) ? entry : {};
      const texts = Array.isArray(values) && values.every((value) => typeof value === 'string');
      if (!texts || new Set(values).size !== values.length) {
        throw new RangeError(`has malformed values of ${JSON.stringify(name)}`);
      }
      /** @param {unknown} places */
      const sound = (places) =>
        Array.isArray(places) &&
        places.every((place) => isCount(place) && place < values.length) &&
        new Set(places).size === places.length;
      if (!Array.isArray(rows) || rows.length !== items || !rows.every(sound)) {
        throw new RangeError(`has malformed rows of ${JSON.stringify(name)}`);
      }
      return [name, { values, rows }];
    }),
  );
}
