// Runs cases of the conformance suite in a page of a web export; the argument is what tests/targets/test_web.py passes.
async ({ base, cases, bundles }) => {
  const { Bundle, Ranker, Recommender, State, checkGolden } = await import(`${base}edgerec/recommender.js`);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const loaded = {};
  const load = async (name) => (loaded[name] ??= await anyModel(bytes(bundles[name])));
  const anyModel = async (content) => {
    const bundle = await Bundle.read(content);
    return bundle.contract.kind === 'ranking' ? Ranker.load(bundle) : Recommender.load(bundle);
  };
  const options = ({ exclude_history: excludeHistory, at_most: atMost, ...rest }) => ({
    ...rest,
    ...(excludeHistory === undefined ? {} : { excludeHistory }),
    ...(atMost === undefined ? {} : { atMost }),
  });
  const listed = (list) => ({
    items: list.map((entry) => entry.item),
    scores: list.map((entry) => entry.score),
    titles: list.map((entry) => entry.title),
    because: list.map((entry) => entry.because),
    unknown: list.unknown,
    source: list.source,
  });
  const numbers = (scores) => ({ scores: Array.from(scores, (score) => (Number.isNaN(score) ? null : score)) });
  const calls = {
    recommend: async (model, { history, ...rest }) => listed(await model.recommend(history, options(rest))),
    similar: async (model, { item, ...rest }) => listed(await model.similar(item, options(rest))),
    candidates: async (model, { history, candidates, user }) => numbers(await model.score(history, candidates, { user })),
    steps: async (model, { user, events, ...rest }) => {
      let state = await model.newState(user);
      for (const event of events) state = State.fromBytes((await model.advance(state, event)).toBytes());
      const stored = state.toBytes();
      const prefix = stored.subarray(0, stored.length - 4 * state.values.length);
      return {
        ...listed(await model.recommendFromState(state, options(rest))),
        state_prefix: Array.from(prefix, (byte) => byte.toString(16).padStart(2, '0')).join(''),
        state_values: Array.from(state.values),
      };
    },
    rank: async (model, { user, candidates, context, history, history_values: historyValues }) =>
      numbers(await model.score(user ?? {}, candidates, { context, history, historyValues })),
    load: async ({ bundle }) => ({ name: bundle.name, items: bundle.items.length - 1, titles: bundle.titles.length > 0 }),
    golden: (model) => checkGolden(model),
  };
  const outcomes = [];
  for (const { call, arguments: given, bundle, content } of cases) {
    let own = null;
    try {
      own = content === undefined ? null : await anyModel(bytes(content));
      outcomes.push(await calls[call](own ?? (await load(bundle)), given));
    } catch (error) {
      const kind = { BundleError: 'bundle', RangeError: 'value', TypeError: 'type' }[error.name] ?? error.name;
      outcomes.push({ error: kind, said: error.message });
    } finally {
      await own?.close();
    }
  }
  return outcomes;
};
