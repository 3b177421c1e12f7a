/** Ids and titles: `items.txt`, `titles.txt` and `items.bin`. */

/**
 * The texts of the lines, that of row 0 being "". Only "\n" ends a line.
 *
 * @param {Uint8Array} content
 * @returns {string[]}
 * @throws {RangeError} the content is not UTF-8, has an illegal escape, or does not end with a line feed
 */
export function readLines(content) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new RangeError('is not UTF-8');
  }
  if (text && !text.endsWith('\n')) throw new RangeError('does not end with a line feed');
  const lines = text.split('\n');
  lines.unshift('');
  lines.pop();
  for (let row = 1; row < lines.length; row++) {
    if (lines[row].includes('\\')) lines[row] = unescaped(lines[row]);
  }
  return lines;
}

/** @param {string} line */
function unescaped(line) {
  try {
    return JSON.parse(`"${line}"`);
  } catch {
    throw new RangeError('has an illegal escape');
  }
}

/**
 * Ids that are numbers, that of row 0 being "": a byte with the number of bits, then the numbers, lowest bit first.
 *
 * @param {Uint8Array} content
 * @param {number} count
 * @returns {string[]}
 * @throws {RangeError} the content is something else
 */
export function readNumbers(content, count) {
  const bits = content.length ? content[0] : 0;
  if (bits < 1 || bits > 63 || count > 2 ** bits || content.length !== 1 + Math.ceil((count * bits) / 8)) {
    throw new RangeError(`does not hold ${count} different numbers`);
  }
  const ids = [''];
  for (let row = 0; row < count; row++) {
    const at = 8 + row * bits;
    const low = bitsAt(content, at, Math.min(bits, 32));
    const high = bits > 32 ? bitsAt(content, at + 32, bits - 32) : 0;
    // A double holds 53 bits.
    ids.push(String(high < 2 ** 21 ? high * 2 ** 32 + low : (BigInt(high) << 32n) | BigInt(low)));
  }
  return ids;
}

/**
 * @param {Uint8Array} content
 * @param {number} at the first bit
 * @param {number} count at most 32
 */
function bitsAt(content, at, count) {
  let value = 0;
  for (let taken = 0; taken < count;) {
    const offset = (at + taken) & 7;
    const fit = Math.min(8 - offset, count - taken);
    value += ((content[(at + taken) >>> 3] >>> offset) & ((1 << fit) - 1)) * 2 ** taken;
    taken += fit;
  }
  return value;
}
