/** Golden vectors: the self-test of a bundle on this very device. */

/**
 * @param {import('./recommender.js').Recommender | import('./ranker.js').Ranker} model
 * @returns {Promise<{passed: number, failed: number}>} how many golden vectors the model reproduces, and how many not
 * @throws {import('./errors.js').BundleError} the golden vectors are malformed
 */
export async function checkGolden(model) {
  const outcome = { passed: 0, failed: 0 };
  for (const vector of model.bundle.golden()) {
    const agrees =
      'score' in model && !('recommendRows' in model)
        ? await ranks(model, vector)
        : await lists(/** @type {any} */ (model), vector);
    outcome[agrees ? 'passed' : 'failed']++;
  }
  return outcome;
}

/** @param {readonly number[]} scores */
const largest = (scores) => Math.max(0, ...scores.map(Math.abs));

/** @param {import('./recommender.js').Recommender} model @param {Record<string, any>} vector */
async function lists(model, { history, exclude, ids, scores, tolerance }) {
  const found = await model.recommendRows(history, exclude, ids.length);
  const near = tolerance * largest(scores);
  if (found.rows.length !== ids.length || scores.length !== ids.length) return false;
  return found.rows.every((row, place) => {
    const expected = ids.includes(row) ? scores[ids.indexOf(row)] : scores[scores.length - 1];
    const sameRow = row === ids[place] || Math.abs(expected - scores[place]) <= near;
    return sameRow && Math.abs(found.scores[place] - scores[place]) <= near;
  });
}

/** @param {import('./ranker.js').Ranker} model @param {Record<string, any>} vector */
async function ranks(model, { user, candidates, context, history, history_values: historyValues, scores, tolerance }) {
  const found = await model.score(user ?? {}, candidates, { context, history, historyValues });
  const near = tolerance * largest(scores);
  return found.length === scores.length && found.every((score, place) => Math.abs(score - scores[place]) <= near);
}
