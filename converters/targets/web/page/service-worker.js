/** Keeps the page and the model, so that they work without a network. */
/* VERSION and FILES are written here. */

const PREFIX = 'edgerec ';
const NAME = `${PREFIX}${self.registration.scope} ${VERSION}`;

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith(`${PREFIX}${self.registration.scope} `) && name !== NAME))
      .then((outdated) => Promise.all(outdated.map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

// The page tells which further files it needed: the WebAssembly that fits this browser.
self.addEventListener('message', (event) => {
  const files = event.data.keep.filter((url) => url.startsWith(self.registration.scope));
  event.waitUntil(
    caches
      .open(NAME)
      .then((cache) => Promise.all(files.map(async (url) => (await cache.match(url)) ?? cache.add(url))))
      .then(() => event.ports[0].postMessage('kept')),
  );
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(
    caches.open(NAME).then(async (cache) => (await cache.match(request, { ignoreSearch: true })) ?? fetch(request)),
  );
});
