/** Signatures of model files: Ed25519 over every byte. */

import { BundleError } from './errors.js';

const FIRST_LINE = 'edgerec-signature 1';
const MAX_BYTES = 4096;
const MAX_SIGNATURES = 16;
// What stands before the 32 bytes of the key in its DER form.
const DER_PREFIX = '302a300506032b6570032100';

/**
 * Check a signature file.
 *
 * @param {Uint8Array} content of the model file, every byte
 * @param {string | null | undefined} signature the text of its `.sig` file
 * @param {Uint8Array | string} publicKey 32 bytes, or the text of a PEM file
 * @throws {BundleError} the file is not signed by this key, or this browser cannot check it
 */
export async function checkSignature(content, signature, publicKey) {
  const raw = /** @type {Uint8Array<ArrayBuffer>} */ (typeof publicKey === 'string' ? rawKey(publicKey) : publicKey);
  if (typeof signature !== 'string') throw new BundleError('the model is not signed; refusing it');
  const candidates = linesOf(signature, hex(new Uint8Array(await crypto.subtle.digest('SHA-256', raw))).slice(0, 16));
  let key;
  try {
    key = await crypto.subtle.importKey('raw', raw, 'Ed25519', false, ['verify']);
  } catch (error) {
    throw new BundleError(
      `this browser cannot check Ed25519 signatures, or the key is none (${error}); refusing the model`,
    );
  }
  for (const one of candidates) {
    if (await crypto.subtle.verify('Ed25519', key, one, /** @type {Uint8Array<ArrayBuffer>} */ (content))) return;
  }
  throw new BundleError('the model is not signed by the expected key; refusing it');
}

/**
 * @param {string} text
 * @param {string} keyId
 * @returns {Uint8Array<ArrayBuffer>[]} the signatures of this key
 */
function linesOf(text, keyId) {
  const lines = text.replace(/(\r?\n)+$/, '').split(/\r?\n/);
  const isAscii = [...text].every((letter) => letter < '\x80');
  if (text.length > MAX_BYTES || !isAscii || lines.shift() !== FIRST_LINE || lines.length > MAX_SIGNATURES)
    throw malformed();
  return lines.flatMap((line) => {
    const fields = line.split(' ');
    if (fields.length !== 3 || fields.includes('')) throw malformed();
    const [algorithm, id, signature] = fields;
    if (algorithm !== 'ed25519') return [];
    const bytes = fromBase64(signature);
    if (bytes?.length !== 64) throw malformed();
    return id === keyId ? [bytes] : [];
  });
}

/** @param {string} pem */
function rawKey(pem) {
  const [, body] = /-----BEGIN PUBLIC KEY-----([\s\S]*?)-----END PUBLIC KEY-----/.exec(pem) ?? [];
  const der = fromBase64((body ?? '').replace(/\s/g, ''));
  if (der?.length !== 44 || hex(der.subarray(0, 12)) !== DER_PREFIX)
    throw new BundleError('the key is no Ed25519 public key');
  return der.slice(12);
}

/** @param {string} text */
function fromBase64(text) {
  if (text.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** @param {Uint8Array} bytes */
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

const malformed = () => new BundleError('the signature file is malformed; refusing the model');
