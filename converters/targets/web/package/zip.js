/** Reads the ZIP behind the flatbuffer of a bundle: stored or deflated members, nothing else. */

import { BundleError } from './errors.js';

// Far above any real catalogue; stops a ZIP bomb before it is unpacked.
const MAX_MEMBER_BYTES = 256 * 1024 * 1024;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 65535;

/**
 * @typedef {object} Member
 * @property {string} name
 * @property {number} start where its local header begins
 * @property {() => Promise<Uint8Array>} read its content, inflated and checked
 */

/**
 * The members of the ZIP, in the order of its directory; none is inflated yet.
 *
 * @param {Uint8Array} file
 * @param {ReadonlySet<string>} known the names that a member may have
 * @returns {Member[]}
 * @throws {BundleError} there is no ZIP, it is damaged, or it has a member of another name
 */
export function readDirectory(file, known) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = findEnd(view);
  if (end < 0) {
    throw new BundleError('a TFLite file without the edgerec part: a plain model, or a truncated bundle');
  }
  const count = view.getUint16(end + 10, true);
  const bytes = view.getUint32(end + 12, true);
  let at = view.getUint32(end + 16, true);
  if (view.getUint32(end + 4, true) !== 0 || view.getUint16(end + 8, true) !== count || at + bytes !== end) {
    throw damaged('its directory is not where the end record says');
  }
  /** @type {Member[]} */
  const members = [];
  for (let entry = 0; entry < count; entry++) {
    if (at + 46 > end || view.getUint32(at, true) !== 0x02014b50) throw damaged('its directory is malformed');
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const next = at + 46 + nameBytes + extraBytes + commentBytes;
    if (next > end) throw damaged('its directory is malformed');
    const name = String.fromCharCode(...file.subarray(at + 46, at + 46 + Math.min(nameBytes, 100)));
    if (!known.has(name)) throw new BundleError(`unexpected member ${JSON.stringify(name)}; refusing the file`);
    if (members.some((other) => other.name === name)) throw new BundleError(`the member ${name} is there twice`);
    members.push(memberAt(file, view, at, name, end));
    at = next;
  }
  if (at !== end) throw damaged('its directory is malformed');
  return members;
}

/** @param {DataView} view */
function findEnd(view) {
  const first = Math.max(0, view.byteLength - END_BYTES - MAX_COMMENT_BYTES);
  for (let at = view.byteLength - END_BYTES; at >= first; at--) {
    if (view.getUint32(at, true) === 0x06054b50) return at;
  }
  return -1;
}

/**
 * @param {Uint8Array} file
 * @param {DataView} view
 * @param {number} at
 * @param {string} name
 * @param {number} end
 * @returns {Member}
 */
function memberAt(file, view, at, name, end) {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const [crc, packed, size, start] = [16, 20, 24, 42].map((place) => view.getUint32(at + place, true));
  if (flags & 1) throw damaged(`${name} is encrypted`);
  if (method !== 0 && method !== 8) {
    throw new BundleError(`${name} is compressed by method ${method}; this reader knows stored and deflated only`);
  }
  if (size > MAX_MEMBER_BYTES) throw new BundleError(`${name} claims ${size} bytes; refusing the file`);
  if (start + 30 > end || view.getUint32(start, true) !== 0x04034b50)
    throw damaged(`${name} is not where it should be`);
  const data = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
  if (data + packed > end) throw damaged(`${name} does not lie within the file`);
  return {
    name,
    start,
    read: async () => {
      const raw = file.subarray(data, data + packed);
      const content = method === 0 ? raw : await inflate(raw, size, name);
      if (content.length !== size) throw damaged(`${name} is not as long as it claims`);
      if (crc32(content) !== crc) throw damaged(`${name} has another checksum`);
      return content;
    },
  };
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
