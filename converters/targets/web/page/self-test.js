/** The self-test: this browser reproduces the golden vectors of the bundle. */

import { Bundle, Ranker, Recommender, checkGolden } from './edgerec/recommender.js';

const outcome = /** @type {HTMLElement} */ (document.getElementById('outcome'));
try {
  const bundle = await Bundle.read(await (await fetch('model.tflite')).arrayBuffer());
  const model = await (bundle.contract.kind === 'ranking' ? Ranker.load(bundle) : Recommender.load(bundle));
  const { passed, failed } = await checkGolden(model);
  await model.close();
  outcome.textContent = `${passed} of ${passed + failed} golden vectors pass.`;
  outcome.classList.toggle('failed', failed > 0 || passed === 0);
  document.documentElement.dataset.outcome = failed || !passed ? 'failed' : 'passed';
} catch (error) {
  outcome.textContent = `The model cannot be loaded: ${error instanceof Error ? error.message : error}`;
  outcome.classList.add('failed');
  document.documentElement.dataset.outcome = 'failed';
}
