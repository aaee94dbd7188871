import { asBuffer, concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { decodeBase64 } from '../base64.ts';
import { headerLimits, isArgument } from '../header.ts';
import type { Stanza } from '../stanza.ts';

/** What one side of the plugin protocol may send the other in one stanza, index arguments included. */
const limits = { bytes: 256 * 1024, arguments: headerLimits.arguments + 3 } as const;
const stanzaStart = '-> ';
const bodyColumns = 64;

/** Reads the stanzas of the plugin protocol (C2SP age-plugin.md "IPC protocol") from pieces of any size, in bounded memory. */
export class StanzaReader {
  #line = '';
  #stanzaBytes = 0;
  #open: { type: string; args: readonly string[]; body: Uint8Array[] } | undefined;

  /**
   * The stanzas that these bytes complete, one after the other.
   * @throws bad-key where they cannot belong to one, or if it is too long
   */
  *push(bytes: Uint8Array): Generator<Stanza, void, void> {
    const lines = asBuffer(bytes).toString('latin1').split('\n');
    const last = lines.pop()!;
    for (const line of lines) {
      this.#count(line.length + 1);
      const stanza = this.#readLine(this.#line + line);
      this.#line = '';
      if (stanza) yield stanza;
    }
    this.#count(last.length);
    this.#line += last;
  }

  /** False in the middle of a stanza. */
  get isBetweenStanzas(): boolean {
    return this.#open === undefined && this.#line === '';
  }

  #count(bytes: number): void {
    this.#stanzaBytes += bytes;
    if (this.#stanzaBytes > limits.bytes) throw malformed(`a stanza is longer than ${limits.bytes} bytes`);
  }

  #readLine(line: string): Stanza | undefined {
    if (!this.#open) {
      const words = line.startsWith(stanzaStart) ? line.slice(stanzaStart.length).split(' ') : [];
      const [type, ...args] = words;
      if (type === undefined || !words.every(isArgument) || args.length > limits.arguments)
        throw malformed('a line is not the start of a stanza');
      this.#open = { type, args, body: [] };
      return undefined;
    }
    const bytes = line.length <= bodyColumns ? decodeBase64(line) : undefined;
    if (!bytes) throw malformed('a stanza body is not canonical base64 in lines of 64 columns');
    this.#open.body.push(bytes);
    if (line.length === bodyColumns) return undefined;
    const { type, args, body } = this.#open;
    this.#open = undefined;
    this.#stanzaBytes = 0;
    return { type, args, body: concatBytes(body) };
  }
}

function malformed(state: string): SalvageError {
  return new SalvageError('bad-key', `Cannot read the plugin protocol: ${state}`);
}
