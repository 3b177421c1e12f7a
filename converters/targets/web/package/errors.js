/** The file is not a bundle, is damaged, or is refused; the message says what and how to mend it. */
export class BundleError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'BundleError';
  }
}
