// Runs cases of the conformance suite in a page of a web export; the argument is what tests/targets/test_web.py passes.
async ({ base, cases, bundles }) => {
  const { Bundle, ModelSlot, Ranker, Recommender, State, checkGolden } = await import(`${base}edgerec/recommender.js`);
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
  // A slot in service at first with `content`, then each of its steps.
  const replaced = async (content, { signature, public_key: key, ask, steps }) => {
    const publicKey = key && Uint8Array.from(key.match(/../g), (digits) => parseInt(digits, 16));
    const name = crypto.randomUUID();
    const open = () => ModelSlot.open(name, { initial: bytes(content), signature, publicKey });
    const answer = async ({ model }) =>
      model instanceof Ranker
        ? Array.from(await model.score(ask.user, ask.candidates, { context: ask.context }))
        : (await model.recommend(ask.history, { k: ask.k })).map((entry) => entry.item);
    let slot = await open();
    const outcome = { accepted: [], releases: [], answers: [] };
    for (const { do: verb, file, signature: own } of steps) {
      const accepted = await (async () => {
        if (verb === 'replace') await slot.replace(bytes(file), { signature: own });
        if (verb === 'rollback') await slot.rollback();
        if (verb !== 'reopen') return;
        await slot.close();
        slot = await open();
      })().then(
        () => true,
        (error) => {
          if (error.name !== 'BundleError') throw error;
          return false;
        },
      );
      outcome.accepted.push(accepted);
      outcome.releases.push(slot.model.bundle.release);
      outcome.answers.push(await answer(slot));
    }
    await slot.close();
    return outcome;
  };
  const outcomes = [];
  for (const { call, arguments: given, bundle, content } of cases) {
    let own = null;
    try {
      if (call === 'replace') {
        outcomes.push(await replaced(content, given));
        continue;
      }
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
