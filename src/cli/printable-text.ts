import { SalvageError } from '../errors/salvage-error.ts';

/** So much is looked at before anything is shown. What comes later is looked at as it comes. */
const heldBytes = 1024 * 1024;
const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/** Makes sure that what goes to a terminal is text that it only shows: valid UTF-8 without control characters. */
export class PrintableText {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #bytes = 0;

  /** Whether nothing should be shown yet. */
  get mayStillBeRefused(): boolean {
    return this.#bytes <= heldBytes;
  }

  /** @throws failed if this is not text */
  check(piece: Uint8Array): void {
    this.#bytes += piece.length;
    this.#decode(piece, true);
  }

  /** @throws failed if the text ends within a character */
  finish(): void {
    this.#decode(new Uint8Array(0), false);
  }

  #decode(piece: Uint8Array, stream: boolean): void {
    let text: string;
    try {
      text = this.#decoder.decode(piece, { stream });
    } catch (cause) {
      throw refused(cause);
    }
    if (control.test(text)) throw refused();
  }
}

function refused(cause?: unknown): SalvageError {
  return new SalvageError('failed', 'Cannot show the result on the terminal: it is not text', {
    hint: 'write it to a file with -o FILE; -o - insists',
    ...(cause === undefined ? {} : { cause }),
  });
}
