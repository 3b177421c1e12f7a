/** LiteRT.js behind one small interface: a flatbuffer becomes a function for each of its signatures. */

import { Tensor, getGlobalLiteRtPromise, loadAndCompile, loadLiteRt } from '@litertjs/core';

import { BundleError } from './errors.js';

/** @typedef {Float32Array | Int32Array} Values */

// Where an operator fails, such as for a row that does not exist, LiteRT.js answers with what is in its memory, and says so
// only in its log. So the log is read, and calls of all models wait for each other.
/** @type {string[]} */
let failures = [];
/** @type {Promise<unknown>} */
let last = Promise.resolve();

/**
 * Load LiteRT.js, once for the page.
 *
 * @param {string | URL} [wasm] folder of its WebAssembly files
 */
export async function loadRuntime(wasm = new URL('../litert/wasm/', import.meta.url)) {
  if (!getGlobalLiteRtPromise()) {
    /** @param {string} text */
    const printErr = (text) => (text.startsWith('ERROR') ? failures.push(text) : console.debug(text));
    Object.assign(globalThis, { Module: { printErr } });
    await loadLiteRt(String(wasm));
  }
  await getGlobalLiteRtPromise();
}

/** A model in the runtime. Calls wait for each other, as the model has one set of buffers. */
export class Model {
  #compiled;

  /** @param {import('@litertjs/core').CompiledModel} compiled */
  constructor(compiled) {
    this.#compiled = compiled;
  }

  /**
   * @param {Uint8Array} flatbuffer
   * @param {readonly string[]} signatures that it must have
   * @returns {Promise<Model>}
   * @throws {BundleError} the runtime refuses it, or it lacks a signature
   */
  static async load(flatbuffer, signatures) {
    let compiled;
    try {
      compiled = await loadAndCompile(flatbuffer, { accelerator: 'wasm' });
    } catch (error) {
      throw new BundleError(`LiteRT.js refuses the model: ${error instanceof Error ? error.message : error}`);
    }
    const missing = signatures.filter((name) => !Object.hasOwn(compiled.signatures, name));
    if (missing.length) {
      compiled.delete();
      throw new BundleError(`the model has no signature ${missing.join(', ')}`);
    }
    return new Model(compiled);
  }

  /**
   * The shapes of a signature's tensors by name.
   *
   * @param {string} signature
   * @returns {{inputs: Record<string, string>, outputs: Record<string, string>}} each as "dtype [shape]"
   */
  shapes(signature) {
    const runner = this.#compiled.signatures[signature];
    /** @param {readonly import('@litertjs/core').TensorDetails[]} details */
    const described = (details) =>
      Object.fromEntries(details.map(({ name, dtype, shape }) => [name, `${dtype} [${Array.from(shape).join(', ')}]`]));
    return { inputs: described(runner.getInputDetails()), outputs: described(runner.getOutputDetails()) };
  }

  /**
   * Run a signature.
   *
   * @param {string} signature
   * @param {Record<string, [Values, number[]]>} inputs values and shape by name
   * @param {readonly string[]} wanted the outputs to copy
   * @returns {Promise<Record<string, Values>>}
   */
  run(signature, inputs, wanted) {
    const result = last.then(() => this.#run(signature, inputs, wanted));
    last = result.catch(() => {});
    return result;
  }

  /**
   * @param {string} signature
   * @param {Record<string, [Values, number[]]>} inputs
   * @param {readonly string[]} wanted
   */
  async #run(signature, inputs, wanted) {
    /** @type {Record<string, Tensor>} */
    const tensors = {};
    try {
      for (const [name, [values, shape]] of Object.entries(inputs)) tensors[name] = new Tensor(values, shape);
      failures = [];
      const outputs = await this.#compiled.run(signature, tensors);
      try {
        if (failures.length) throw new Error(failures[0]);
        /** @type {Record<string, any>} */
        const copied = {};
        for (const name of wanted) copied[name] = outputs[name].toTypedArray().slice();
        return copied;
      } finally {
        for (const output of Object.values(outputs)) output.delete();
      }
    } finally {
      for (const tensor of Object.values(tensors)) tensor.delete();
    }
  }

  /** Free the memory, after the calls that are under way. */
  async close() {
    await last;
    if (!this.#compiled.deleted) this.#compiled.delete();
  }
}
