/** Reads the ZIP behind the flatbuffer of a bundle: stored or deflated members, nothing else. */

import { BundleError } from './errors.js';

const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const UTF8_NAME = 0x800;
// What all members together may have when inflated: a floor for small files, and a multiple of the file.
const FLOOR = 8 * 1024 * 1024;
const FACTOR = 3;

/**
 * @typedef {object} Member
 * @property {string} name
 * @property {number} start where its local header begins
 * @property {() => Promise<Uint8Array>} read its content, inflated and checked
 */

/**
 * The members of the ZIP, in the order of its directory; none is inflated yet. It is read strictly: only what the writer of
 * bundles makes.
 *
 * @param {Uint8Array} file
 * @param {ReadonlySet<string>} known the names that a member may have
 * @returns {Member[]}
 * @throws {BundleError} there is no ZIP, it is damaged, or has what bundles do not have
 */
export function readDirectory(file, known) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = file.length - END_BYTES;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50 || view.getUint16(end + 20, true)) {
    throw new BundleError('a TFLite file without the edgerec part: a plain model, or a truncated bundle');
  }
  const count = view.getUint16(end + 10, true);
  const directory = view.getUint32(end + 16, true);
  const whole = !view.getUint32(end + 4, true) && view.getUint16(end + 8, true) === count && count <= known.size;
  if (!whole || directory + view.getUint32(end + 12, true) !== end) throw damaged('its directory is malformed');
  /** @type {Member[]} */
  const members = [];
  let [at, expected, total] = [directory, -1, 0];
  for (let entry = 0; entry < count; entry++) {
    if (at + ENTRY_BYTES > end || view.getUint32(at, true) !== 0x02014b50) throw damaged('its directory is malformed');
    const bytes = view.getUint16(at + 28, true);
    const name = String.fromCharCode(...file.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + Math.min(bytes, 40)));
    if (!known.has(name)) throw new BundleError(`unexpected member ${JSON.stringify(name)}; refusing the file`);
    if (members.some((other) => other.name === name)) throw damaged(`${name} is there twice`);
    if (view.getUint32(at + 30, true)) throw damaged('its directory is malformed');
    const [flags, method] = [8, 10].map((place) => view.getUint16(at + place, true));
    const [crc, packed, size, start] = [16, 20, 24, 42].map((place) => view.getUint32(at + place, true));
    if (flags & ~UTF8_NAME || (method !== 0 && method !== 8)) throw damaged(`${name} is neither stored nor deflated`);
    total += size;
    if (total > FLOOR + FACTOR * file.length) throw damaged(`${name} claims ${size} bytes`);
    if (expected >= 0 && start !== expected) throw damaged(`${name} is not behind the one before it`);
    const data = start + LOCAL_BYTES + bytes;
    expected = data + packed;
    if (expected > directory || !sameHeader(view, file, at, start, bytes)) {
      throw damaged(`the header of ${name} is not what the directory says`);
    }
    const read = async () => {
      const raw = file.subarray(data, data + packed);
      const content = method === 0 ? raw : await inflate(raw, size, name);
      if (content.length !== size) throw damaged(`${name} is not as long as it claims`);
      if (crc32(content) !== crc) throw damaged(`${name} has another checksum`);
      return content;
    };
    members.push({ name, start, read });
    at += ENTRY_BYTES + bytes;
  }
  if (at !== end || (count && expected !== directory)) throw damaged('its directory is malformed');
  return members;
}

/**
 * Whether the local header at `start` says what the entry at `at` says: flags to sizes, and the name; and has no more.
 *
 * @param {DataView} view
 * @param {Uint8Array} file
 * @param {number} at
 * @param {number} start
 * @param {number} bytes of the name
 */
function sameHeader(view, file, at, start, bytes) {
  if (view.getUint32(start, true) !== 0x04034b50) return false;
  if (view.getUint16(start + 26, true) !== bytes || view.getUint16(start + 28, true)) return false;
  // Flags and method, then checksum and sizes; the time between them means nothing.
  for (const place of [6, 7, 8, 9, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
    if (file[start + place] !== file[at + place + 2]) return false;
  for (let place = 0; place < bytes; place++) {
    if (file[start + LOCAL_BYTES + place] !== file[at + ENTRY_BYTES + place]) return false;
  }
  return true;
}

/**
 * @param {Uint8Array} raw
 * @param {number} size
 * @param {string} name
 */
async function inflate(raw, size, name) {
  const content = new Uint8Array(size);
  let length = 0;
  const stream = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (raw)]).stream();
  const reader = stream.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.length > size) throw new RangeError('longer than it claims');
      content.set(value, length);
      length += value.length;
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw damaged(`${name} cannot be inflated: ${error instanceof Error ? error.message : error}`);
  }
  return content.subarray(0, length);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {Uint8Array} content */
function crc32(content) {
  let value = 0xffffffff;
  for (let at = 0; at < content.length; at++) value = CRC_TABLE[(value ^ content[at]) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** @param {string} what */
function damaged(what) {
  return new BundleError(`damaged bundle (${what}); copy or convert it again`);
}
