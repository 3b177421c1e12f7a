/** Which items a list may have, and the best of them. */

/**
 * The best rows, best first; of equal scores the lower row comes first.
 *
 * @param {Float32Array} scores of all rows; row 0 is padding
 * @param {number} k
 * @param {(row: number) => boolean} permitted
 * @returns {number[]} at most k
 */
export function topRows(scores, k, permitted) {
  /** @type {number[]} */
  const best = [];
  for (let row = 1; row < scores.length; row++) {
    const score = scores[row];
    if (!(score > -Infinity) || (best.length === k && !(score > scores[best[k - 1]])) || !permitted(row)) continue;
    let low = 0;
    for (let high = best.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (scores[best[middle]] >= score) low = middle + 1;
      else high = middle;
    }
    if (best.length === k) best.pop();
    best.splice(low, 0, row);
  }
  return best;
}

/**
 * @typedef {object} Cap
 * @property {import('./attributes.js').Attribute} attribute
 * @property {number} most
 */

/**
 * The first k rows of a ranking without those that would exceed a cap. An item counts for each of its values.
 *
 * @param {Iterable<number>} ranked
 * @param {number} k
 * @param {readonly Cap[]} caps
 * @returns {number[]}
 */
export function withinCaps(ranked, k, caps) {
  const counts = caps.map(({ attribute }) => new Uint32Array(attribute.values.length));
  const taken = [];
  for (const row of ranked) {
    if (taken.length === k) break;
    const values = caps.map(({ attribute }) => attribute.rows[row - 1]);
    if (caps.some(({ most }, place) => values[place].some((value) => counts[place][value] >= most))) continue;
    taken.push(row);
    values.forEach((own, place) => own.forEach((value) => counts[place][value]++));
  }
  return taken;
}

/**
 * @param {Record<string, number>} atMost
 * @param {Map<string, import('./attributes.js').Attribute>} attributes
 * @returns {Cap[]}
 * @throws {TypeError} a cap is not a whole number
 * @throws {RangeError} a cap is below 1, or the bundle does not have the attribute
 */
export function capsOf(atMost, attributes) {
  return Object.entries(atMost).map(([name, most]) => {
    const attribute = attributes.get(name);
    if (!attribute) {
      const known = [...attributes.keys()].join(', ') || 'none';
      throw new RangeError(`the bundle has no attribute ${JSON.stringify(name)} of its items; it has: ${known}`);
    }
    if (!Number.isInteger(most)) throw new TypeError(`atMost.${name} is ${most}, not a whole number`);
    if (most < 1) throw new RangeError(`atMost.${name} is ${most}; allow at least one item of each value`);
    return { attribute, most };
  });
}
