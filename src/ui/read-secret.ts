import { closeSync, openSync, writeSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { SalvageError } from '../errors/salvage-error.ts';
import { escapeForTerminal } from './escape.ts';

const maxBytes = 4096;
const key = {
  interrupt: 0x03,
  endOfInput: 0x04,
  backspace: 0x08,
  lineFeed: 0x0a,
  enter: 0x0d,
  eraseLine: 0x15,
  eraseWord: 0x17,
  delete: 0x7f,
} as const;

/**
 * Asks on the controlling terminal, whatever standard input and error are, and reads a line that is not shown. The
 * question goes away once it is answered.
 * @throws usage if there is no terminal; interrupted for Ctrl-C or an aborted signal
 */
export async function readSecret(prompt: string, signal: AbortSignal): Promise<string> {
  return await ask(prompt, true, signal);
}

/** As readSecret, for a line that is shown, and stays. */
export async function readLine(prompt: string, signal: AbortSignal): Promise<string> {
  return await ask(prompt, false, signal);
}

async function ask(prompt: string, isSecret: boolean, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const input = openTerminal();
  const output = new WriteStream(openSync('/dev/tty', 'w'));
  const line = new SecretLine();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort);
  try {
    // Without raw mode the terminal shows what is typed, and corrects it by itself.
    input.setRawMode(isSecret);
    output.write(`${escapeForTerminal(prompt)}: `);
    input.on('data', (bytes: Buffer) => {
      try {
        if (line.push(bytes)) resolve(line.take());
      } catch (error) {
        reject(error as Error);
      }
    });
    input.on('error', (cause) => reject(unreadable('it failed', cause)));
    input.on('end', () => reject(unreadable('it was closed')));
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    input.setRawMode(false);
    input.destroy();
    await new Promise((done) => output.write(isSecret ? '\r\x1b[K' : '', done));
    output.destroy();
  }
}

/** Says something on the controlling terminal even where standard error goes to a file: a passphrase that was made. */
export function tellOnTerminal(message: string): void {
  const fd = openSync('/dev/tty', 'w');
  try {
    writeSync(fd, `${escapeForTerminal(message)}\n`);
  } finally {
    closeSync(fd);
  }
}

function openTerminal(): ReadStream {
  let fd: number;
  try {
    fd = openSync('/dev/tty', 'r+');
  } catch (cause) {
    throw unreadable('there is none', cause);
  }
  try {
    return new ReadStream(fd);
  } catch (cause) {
    closeSync(fd);
    throw unreadable('/dev/tty cannot be used', cause);
  }
}

/** A line as it is typed: bytes in, with the keys that correct it. */
export class SecretLine {
  #bytes: number[] = [];

  /** True once the line is complete. @throws interrupted at Ctrl-C, failed if the line does not end */
  push(bytes: Uint8Array): boolean {
    for (const byte of bytes) {
      switch (byte) {
        case key.enter:
        case key.lineFeed:
          return true;
        case key.interrupt:
          throw new SalvageError('interrupted', 'Interrupted');
        case key.endOfInput:
          if (this.#bytes.length > 0) return true;
          throw unreadable('it was closed');
        case key.backspace:
        case key.delete:
          this.#eraseCharacter();
          break;
        case key.eraseLine:
        case key.eraseWord:
          this.#bytes = [];
          break;
        default:
          if (this.#bytes.length === maxBytes)
            throw new SalvageError(
              'failed',
              `Cannot read the passphrase: it has more than ${maxBytes} bytes`,
            );
          this.#bytes.push(byte);
      }
    }
    return false;
  }

  /** @throws bad-key if it is not UTF-8 */
  take(): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(this.#bytes));
    } catch (cause) {
      throw new SalvageError('bad-key', 'Cannot use the passphrase: it is not valid UTF-8', { cause });
    }
  }

  #eraseCharacter(): void {
    let byte = this.#bytes.pop();
    while (byte !== undefined && (byte & 0xc0) === 0x80) byte = this.#bytes.pop();
  }
}

function unreadable(state: string, cause?: unknown): SalvageError {
  return new SalvageError('usage', `Cannot ask for a passphrase on the terminal: ${state}`, {
    hint: 'give it with --passphrase-file FILE, --passphrase-fd N or --passphrase-command COMMAND',
    ...(cause === undefined ? {} : { cause }),
  });
}
