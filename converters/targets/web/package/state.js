/** The state of a recurrent model, which an app stores between two events of a user. */

const MAGIC = 'ERS2';
// The format before there were recent rows.
const MAGIC_WITHOUT_RECENT = 'ERS1';
const HEADER_BYTES = 36;

/** What a recurrent model remembers of one user's events. It belongs to one bundle and never changes. */
export class State {
  /**
   * @param {Float32Array} values finite; all zero before any event
   * @param {string} fingerprint of the bundle, 64 hexadecimal digits
   * @param {Int32Array} [recent] rows of the newest items, oldest first
   * @throws {RangeError} an argument is not of this form
   */
  constructor(values, fingerprint, recent = new Int32Array(0)) {
    if (!values.length || !values.every(Number.isFinite)) throw new RangeError("the state's values are not finite");
    if (!/^[0-9a-f]{64}$/.test(fingerprint)) throw new RangeError("the state's fingerprint is malformed");
    if (recent.some((row) => row < 1)) throw new RangeError("the state's recent rows begin below 1");
    /** @readonly */
    this.values = values.slice();
    /** @readonly */
    this.fingerprint = fingerprint;
    /** @readonly */
    this.recent = recent.slice();
  }

  /** @returns {boolean} whether it holds no event and no user feature */
  get empty() {
    return !this.recent.length && this.values.every((value) => value === 0);
  }

  /** @returns {Uint8Array} to store: "ERS2", fingerprint, number of recent rows, recent rows, values; little-endian */
  toBytes() {
    const rows = HEADER_BYTES + 4;
    const values = rows + 4 * this.recent.length;
    const view = new DataView(new ArrayBuffer(values + 4 * this.values.length));
    [...MAGIC].forEach((letter, place) => view.setUint8(place, letter.charCodeAt(0)));
    for (let byte = 0; byte < 32; byte++) {
      view.setUint8(4 + byte, parseInt(this.fingerprint.slice(2 * byte, 2 * byte + 2), 16));
    }
    view.setUint32(HEADER_BYTES, this.recent.length, true);
    this.recent.forEach((row, place) => view.setInt32(rows + 4 * place, row, true));
    this.values.forEach((value, place) => view.setFloat32(values + 4 * place, value, true));
    return new Uint8Array(view.buffer);
  }

  /**
   * @param {Uint8Array} content what `toBytes` returned
   * @returns {State}
   * @throws {RangeError} the content is not a stored state
   */
  static fromBytes(content) {
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    const magic = String.fromCharCode(...content.subarray(0, 4));
    const counted = magic === MAGIC && content.length >= HEADER_BYTES + 4;
    const start = HEADER_BYTES + (magic === MAGIC ? 4 : 0);
    const count = counted ? view.getUint32(HEADER_BYTES, true) : 0;
    const size = content.length - start - 4 * count;
    if (![MAGIC, MAGIC_WITHOUT_RECENT].includes(magic) || size < 4 || size % 4) {
      throw new RangeError('not a stored state (or a truncated one)');
    }
    const fingerprint = Array.from(content.subarray(4, 36), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const recent = Int32Array.from({ length: count }, (_, place) => view.getInt32(start + 4 * place, true));
    const first = start + 4 * count;
    const values = Float32Array.from({ length: size / 4 }, (_, place) => view.getFloat32(first + 4 * place, true));
    return new State(values, fingerprint, recent);
  }
}
