/** Reasons: which event of the history contributed most to a recommended item. */

// The newest events that are left out in turn; each costs one call of the model.
const LEFT_OUT = 20;

/**
 * @typedef {object} Links
 * @property {Int32Array} targets [positions * neighbours] rows that each of the newest positions raises
 * @property {Float32Array} weights likewise, by how much
 * @property {number} neighbours
 */

/**
 * For each recommended item, the row of the event that contributed most to it, 0 where there is none: the event with the
 * largest transition to it, or else the one without which its score falls most.
 *
 * @param {readonly number[]} rows of the recommended items
 * @param {readonly number[]} scores of them
 * @param {readonly number[]} read the rows that the model read, oldest first
 * @param {number} items rows above it are user features, which are no events
 * @param {(() => Promise<Links>) | null} links null for a model without transitions
 * @param {(read: readonly number[]) => Promise<Float32Array>} itemScores
 * @returns {Promise<number[]>}
 */
export async function reasons(rows, scores, read, items, links, itemScores) {
  if (!rows.length || read.every((row) => row > items)) return rows.map(() => 0);
  const found = links ? linked(rows, read, items, await links()) : rows.map(() => 0);
  if (!found.includes(0)) return found;
  const places = [...read.keys()].filter((place) => read[place] <= items).slice(-LEFT_OUT);
  const most = rows.map(() => 0);
  const fallen = rows.map(() => 0);
  for (const left of places.reverse()) {
    const without = await itemScores(read.filter((_, place) => place !== left));
    rows.forEach((row, place) => {
      const fall = Math.fround(scores[place] - without[row]);
      if (fall > most[place]) [fallen[place], most[place]] = [read[left], fall];
    });
  }
  return found.map((row, place) => row || fallen[place]);
}

/**
 * @param {readonly number[]} rows
 * @param {readonly number[]} read
 * @param {number} items
 * @param {Links} links
 */
function linked(rows, read, items, { targets, weights, neighbours }) {
  const positions = targets.length / neighbours;
  const newest = read.slice(-positions);
  return rows.map((wanted) => {
    let [found, largest] = [0, 0];
    // From the newest on, so that of equal weights the newest counts.
    for (let back = 1; back <= newest.length; back++) {
      const event = newest[newest.length - back];
      if (event < 1 || event > items) continue;
      const first = (positions - back) * neighbours;
      for (let entry = first; entry < first + neighbours; entry++) {
        if (targets[entry] === wanted && weights[entry] > largest) [found, largest] = [event, weights[entry]];
      }
    }
    return found;
  });
}
