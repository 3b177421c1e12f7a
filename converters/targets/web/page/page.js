/** The page: search, pick, and see what the model recommends, why, and how long it took. */

import { Recommender } from './edgerec/recommender.js';

const LISTED = 10;
const MATCHES = 8;
const MODEL = 'model.tflite';

/** @param {string} id @returns {HTMLElement} */
const the = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const query = /** @type {HTMLInputElement} */ (the('query'));

/** @type {Recommender} */
let recommender;
/** @type {{item: string, searched: string}[]} */
let catalogue = [];
/** @type {string[]} */
let picks = [];
/** @type {string[]} */
let matches = [];
let selected = -1;
let asked = 0;

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {string} item */
function titleOf(item) {
  const row = recommender.bundle.items.indexOf(item);
  // A bare id would look like a mistake among titles.
  const { titles } = recommender.bundle;
  return titles[row] ? shown(titles[row]) : titles.length ? `Item ${item}` : item;
}

/** Titles in capitals are hard to read: they are shown in lower case. @param {string} title */
function shown(title) {
  const words = title.replace(/\s*\([^()]*\)$/, '');
  if (words !== words.toUpperCase() || words === words.toLowerCase()) return title;
  return words.charAt(0) + words.slice(1).toLowerCase() + title.slice(words.length);
}

/** A title whose last words in parentheses are muted. @param {string} title @param {string} [name] */
function titled(title, name = 'title') {
  const [, words, aside] = /^(.*?)(\s*\([^()]*\))?$/s.exec(title) ?? [];
  return element(
    'span',
    { class: name },
    words ?? title,
    ...(aside ? [element('span', { class: 'aside' }, aside)] : []),
  );
}

/** @param {string} text */
const searchable = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();

/** @param {number} milliseconds */
const time = (milliseconds) => `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;

function find() {
  const words = searchable(query.value).split(/\s+/).filter(Boolean);
  const picked = new Set(picks);
  matches = [];
  // The catalogue is in the order of popularity.
  for (const { item, searched } of words.length ? catalogue : []) {
    if (matches.length === MATCHES) break;
    if (!picked.has(item) && words.every((word) => searched.includes(word))) matches.push(item);
  }
  select(matches.length ? 0 : -1);
  the('matches').replaceChildren(
    ...matches.map((item, place) => {
      const option = element('li', {
        role: 'option',
        id: `match-${place}`,
        'aria-selected': String(place === selected),
      });
      option.append(titled(titleOf(item), 'name'), element('span', { class: 'id' }, item));
      option.addEventListener('pointerdown', (event) => event.preventDefault());
      option.addEventListener('click', () => pick(item));
      return option;
    }),
  );
  open(matches.length > 0);
  if (words.length && !matches.length) say('No item matches.');
}

/** @param {boolean} shownNow */
function open(shownNow) {
  the('matches').hidden = !shownNow;
  query.setAttribute('aria-expanded', String(shownNow));
  if (!shownNow) query.removeAttribute('aria-activedescendant');
}

/** @param {number} place */
function select(place) {
  selected = place;
  [...the('matches').children].forEach((option, other) => {
    option.setAttribute('aria-selected', String(other === place));
    if (other === place) option.scrollIntoView({ block: 'nearest' });
  });
  if (place >= 0) query.setAttribute('aria-activedescendant', `match-${place}`);
}

/** @param {string} text for screen readers */
function say(text) {
  the('said').textContent = text;
}

/** @param {string} item */
function pick(item) {
  picks = [...picks.filter((other) => other !== item), item];
  query.value = '';
  open(false);
  changed(`${titleOf(item)} added.`);
}

/** @param {string} item */
function unpick(item) {
  const place = picks.indexOf(item);
  picks = picks.filter((other) => other !== item);
  changed(`${titleOf(item)} removed.`);
  const buttons = the('history').querySelectorAll('button');
  (buttons[Math.min(place, buttons.length - 1)] ?? query).focus();
}

/** @param {string} done */
function changed(done) {
  try {
    localStorage.setItem(`picks of ${recommender.bundle.name}`, JSON.stringify(picks));
  } catch {
    // Without storage, the picks last as long as the page.
  }
  showPicks();
  recommend(done);
}

function showPicks() {
  the('history').replaceChildren(
    ...picks.map((item) => {
      const title = titleOf(item);
      const remove = element('button', { type: 'button', 'aria-label': `Remove ${title}` }, '×');
      remove.addEventListener('click', () => unpick(item));
      return element('li', {}, titled(title, 'name'), remove);
    }),
  );
  the('no-picks').hidden = picks.length > 0;
  the('clear').hidden = picks.length < 2;
}

/** What the user told about themselves, and how diverse the list should be. */
function options() {
  const form = /** @type {HTMLFormElement} */ (the('options'));
  /** @type {Record<string, string>} */
  const user = {};
  /** @type {Record<string, number>} */
  const atMost = {};
  for (const [name, value] of new FormData(form)) {
    if (value === '') continue;
    if (name.startsWith('user ')) user[name.slice(5)] = String(value);
    else atMost[name.slice(8)] = Number(value);
  }
  return { user, atMost };
}

/** @param {string} [done] what the user did, for screen readers */
async function recommend(done = '') {
  const request = ++asked;
  const { user, atMost } = options();
  const begun = performance.now();
  const list = await recommender.recommend(picks, { k: LISTED, user, atMost });
  const took = performance.now() - begun;
  if (request !== asked) return;
  show(list, took);
  say(`${done} ${list.length} items, the first: ${list.length ? titleOf(list[0].item) : 'none'}.`);
  document.documentElement.dataset.recommendationMs = took.toFixed(2);
  if (list.source !== 'model') return;
  const again = performance.now();
  const explained = await recommender.recommend(picks, { k: LISTED, user, atMost, explain: true });
  if (request === asked) show(explained, took, performance.now() - again);
}

/**
 * @param {import('./edgerec/recommender.js').Recommendations} list
 * @param {number} took
 * @param {number} [explaining]
 */
function show(list, took, explaining) {
  const byModel = list.source === 'model';
  the('list-title').textContent = byModel ? 'Recommended for you' : 'Popular to begin with';
  the('lead').textContent = byModel
    ? 'Each pick changes the list at once.'
    : 'Add something, and this list becomes yours.';
  const times = [element('strong', {}, time(took)), ' for the list'];
  if (explaining !== undefined) times.push(`, then ${time(explaining)} with the reasons`);
  the('times').replaceChildren(...times);
  const [best, worst] = [list[0]?.score ?? 0, list.at(-1)?.score ?? 0];
  const focused = document.activeElement?.closest('#recommended')
    ? document.activeElement.getAttribute('data-item')
    : null;
  the('recommended').replaceChildren(
    ...list.map(({ item, score, because }, place) => {
      const name = titleOf(item);
      const add = element(
        'button',
        { type: 'button', class: 'add', 'data-item': item, 'aria-label': `Add ${name}` },
        '+',
      );
      add.addEventListener('click', () => pick(item));
      const text = element('div', {}, titled(name));
      if (byModel) {
        const why = because ? ['because of ', element('b', {}, titled(titleOf(because), 'name'))] : [];
        if (explaining !== undefined && !because) why.push('fits your picks as a whole');
        text.append(element('span', { class: 'why' }, ...(why.length ? why : ['\u00a0'])));
        const fill = element('i');
        fill.style.width = `${Math.round(25 + 75 * (best > worst ? (score - worst) / (best - worst) : 1))}%`;
        text.append(element('span', { class: 'bar', 'aria-hidden': 'true', title: `score ${score.toFixed(2)}` }, fill));
      } else {
        text.append(element('span', { class: 'why' }, `no. ${place + 1} in the data`));
      }
      return element('li', {}, element('span', { class: 'rank', 'aria-hidden': 'true' }, String(place + 1)), text, add);
    }),
  );
  if (focused !== null) {
    const buttons = [...the('recommended').querySelectorAll('button')];
    (buttons.find((button) => button.dataset.item === focused) ?? buttons[0])?.focus();
  }
}

/** Fields for what the model can be told besides the picks. */
function showOptions() {
  const { userFeatures, attributes } = recommender.bundle;
  const form = the('options');
  for (const [place, { name, values, edges }] of userFeatures.entries()) {
    const id = `user-${place}`;
    const field = values.length
      ? element('select', { id, name: `user ${name}` }, element('option', { value: '' }, 'not told'))
      : element('input', {
          id,
          name: `user ${name}`,
          type: 'number',
          step: 'any',
          placeholder: `such as ${edges[0] ?? 1}`,
        });
    field.append(...values.map((value) => element('option', { value }, value)));
    form.append(element('div', {}, element('label', { for: id }, `You: ${name}`), field));
  }
  for (const [place, name] of [...attributes.keys()].entries()) {
    const id = `at-most-${place}`;
    const field = element('select', { id, name: `at most ${name}` }, element('option', { value: '' }, 'any number'));
    field.append(...['1', '2', '3'].map((value) => element('option', { value }, value)));
    form.append(
      element('div', {}, element('label', { for: id }, `At most of each ${name.replaceAll('_', ' ')}`), field),
    );
  }
  form.hidden = !form.children.length;
  form.addEventListener('input', () => recommend());
  form.addEventListener('submit', (event) => event.preventDefault());
}

/** @param {number} bytes @param {Record<string, number>} took */
function showAbout(bytes, took) {
  const { bundle, contract } = recommender;
  const quality = bundle.manifest.quality?.['ndcg@10'];
  const facts = {
    Model: `${bundle.name}, ${bundle.scheme}`,
    Catalogue: `${contract.items.toLocaleString('en')} items`,
    File: `${(bytes / 1000).toFixed(0)} kB, with ids and titles`,
    Reads: `the last ${contract.maxHistory} picks`,
    ...(quality ? { 'NDCG@10': Number(quality).toFixed(4) } : {}),
    'Loaded in': Object.entries(took)
      .map(([what, ms]) => `${what} ${time(ms)}`)
      .join(', '),
    'SHA-256': bundle.fingerprint,
  };
  the('about').replaceChildren(
    ...Object.entries(facts).flatMap(([name, text]) => [element('dt', {}, name), element('dd', {}, text)]),
  );
}

/** Keep the page and the files that it has loaded for when there is no network. */
async function keep() {
  if (!('serviceWorker' in navigator)) return;
  await navigator.serviceWorker.register('service-worker.js');
  const { active } = await navigator.serviceWorker.ready;
  const channel = new MessageChannel();
  channel.port1.onmessage = () => (the('offline').hidden = false);
  const loaded = performance.getEntriesByType('resource').map((entry) => entry.name);
  active?.postMessage({ keep: loaded }, [channel.port2]);
}

query.addEventListener('input', find);
query.addEventListener('blur', () => open(false));
query.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') open(false);
  if (!matches.length || the('matches').hidden) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    select((selected + step + matches.length) % matches.length);
  } else if (event.key === 'Enter' && selected >= 0) {
    event.preventDefault();
    pick(matches[selected]);
  }
});
the('clear').addEventListener('click', () => {
  picks = [];
  changed('All picks removed.');
  query.focus();
});

async function begin() {
  const begun = performance.now();
  const response = await fetch(MODEL);
  if (!response.ok) throw new Error(`${MODEL} cannot be fetched: ${response.status}`);
  const content = await response.arrayBuffer();
  const fetched = performance.now();
  recommender = await Recommender.load(content);
  const loaded = performance.now();
  const { items, titles } = recommender.bundle;
  catalogue = items
    .slice(1)
    .map((item, place) => ({ item, searched: searchable(`${titles[place + 1] ?? ''} ${item}`) }));
  try {
    const stored = JSON.parse(localStorage.getItem(`picks of ${recommender.bundle.name}`) ?? '[]');
    picks = stored.filter((/** @type {string} */ item) => items.includes(item));
  } catch {
    picks = [];
  }
  query.disabled = false;
  query.placeholder = `${(items.length - 1).toLocaleString('en')} items`;
  showOptions();
  showPicks();
  showAbout(content.byteLength, { file: fetched - begun, 'runtime and model': loaded - fetched });
  await recommend();
  document.documentElement.dataset.ready = 'yes';
  await keep();
}

begin().catch((error) => {
  the('lead').textContent = `The model cannot be loaded: ${error.message}`;
  the('lead').classList.add('failed');
});
