import { createHmac, timingSafeEqual } from 'node:crypto';
import { concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { hkdf } from './hkdf.ts';
import type { Stanza } from './stanza.ts';

/** A parsed header (C2SP age.md "Header"). Nothing in it is to be believed until its MAC has been verified. */
export interface Header {
  readonly stanzas: readonly Stanza[];
  readonly mac: Uint8Array;
  /** The whole header as it was read, from the version line to the line feed after the MAC. */
  readonly bytes: Uint8Array;
}

/** The limits of age 1.3.2, for reading and for writing. */
export const headerLimits = { bytes: 2_097_152, stanzas: 1024, arguments: 128 } as const;

const versionLine = 'age-encryption.org/v1\n';
const stanzaStart = '-> ';
const macStart = '---';
const macLineBytes = `${macStart} `.length + 43 + 1;
const bodyColumns = 64;

/**
 * The header for these stanzas, with its MAC.
 * @throws age-header if it would exceed what age reads
 */
export function encodeHeader(stanzas: readonly Stanza[], fileKey: Uint8Array): Uint8Array<ArrayBuffer> {
  if (stanzas.length === 0 || stanzas.length > headerLimits.stanzas)
    throw unwritable(`${stanzas.length} recipient stanzas, where 1 to ${headerLimits.stanzas} are allowed`);
  const authenticated = utf8Bytes(versionLine + stanzas.map(encodeStanza).join('') + macStart);
  const mac = computeMac(fileKey, authenticated);
  const header = concatBytes([authenticated, utf8Bytes(` ${encodeBase64(mac)}\n`)]);
  if (header.length > headerLimits.bytes)
    throw unwritable(`${header.length} bytes, where ${headerLimits.bytes} are allowed`);
  return header;
}

/** A stanza as a header has it, and the plugin protocol too. @throws age-header if an argument cannot be written */
export function encodeStanza({ type, args, body }: Stanza): string {
  if (args.length > headerLimits.arguments)
    throw unwritable(`a stanza of ${args.length} arguments, where ${headerLimits.arguments} are allowed`);
  for (const argument of [type, ...args])
    if (!isArgument(argument)) throw unwritable('a stanza argument that is empty or not printable ASCII');
  const text = encodeBase64(body);
  let out = `${stanzaStart}${[type, ...args].join(' ')}\n`;
  // A last line of full length would look like one that goes on, so an empty line follows it: hence <=.
  for (let column = 0; column <= text.length; column += bodyColumns)
    out += `${text.slice(column, column + bodyColumns)}\n`;
  return out;
}

/** True if the header was written by somebody who holds the file key, and not changed since. */
export function verifyHeaderMac(header: Header, fileKey: Uint8Array): boolean {
  const authenticated = header.bytes.subarray(0, header.bytes.length - macLineBytes + macStart.length);
  return timingSafeEqual(computeMac(fileKey, authenticated), header.mac);
}

function computeMac(fileKey: Uint8Array, authenticated: Uint8Array): Buffer {
  return createHmac('sha256', hkdf(fileKey, '', 'header'))
    .update(authenticated)
    .digest();
}

/** The header at the start of `bytes`, which hold it whole; payload may follow. @throws age-header */
export function parseHeader(bytes: Uint8Array): Header {
  const parser = new HeaderParser();
  if (!parser.push(bytes)) parser.finish();
  return parser.header!;
}

/**
 * Reads a header from pieces of any size and refuses it at the first byte that cannot belong to one. Memory is bounded by
 * `headerLimits`.
 */
export class HeaderParser {
  /** Set once the header is complete. */
  header: Header | undefined;
  /** What was pushed beyond the end of the header: the first bytes of the payload. */
  rest: Uint8Array = new Uint8Array(0);

  #bytes = Buffer.alloc(1024);
  #length = 0;
  #lineStart = 0;
  readonly #stanzas: Stanza[] = [];
  #open: { type: string; args: string[]; body: Uint8Array[] } | undefined;

  /** True once the header is complete. @throws age-header if it is malformed or exceeds a limit */
  push(piece: Uint8Array): boolean {
    if (this.header) throw new Error('the header is complete');
    const pieceOffset = this.#length;
    // One byte more than allowed is enough to know that the header is too long.
    this.#append(piece.subarray(0, headerLimits.bytes + 1 - this.#length));
    this.#checkVersionStart();
    for (let scan = pieceOffset; ;) {
      const lineEnd = this.#bytes.subarray(0, this.#length).indexOf(0x0a, scan);
      if (lineEnd < 0) break;
      if (lineEnd >= headerLimits.bytes) break;
      const line = this.#bytes.toString('latin1', this.#lineStart, lineEnd);
      this.#lineStart = lineEnd + 1;
      scan = lineEnd + 1;
      if (this.#readLine(line)) {
        this.rest = piece.subarray(scan - pieceOffset);
        return true;
      }
    }
    if (this.#length > headerLimits.bytes) throw malformed(`it is longer than ${headerLimits.bytes} bytes`);
    return false;
  }

  /** To be called at the end of the input when the header is not complete. @throws age-header always */
  finish(): never {
    throw malformed(this.#length === 0 ? 'the file is empty' : 'the file ends within it');
  }

  #append(piece: Uint8Array): void {
    const needed = this.#length + piece.length;
    if (needed > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(needed, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = needed;
  }

  /** Tells a foreign file by its first bytes, not by its first line feed, which may be far away. */
  #checkVersionStart(): void {
    if (this.#lineStart > 0) return;
    const start = this.#bytes.toString('latin1', 0, Math.min(this.#length, versionLine.length));
    if (!versionLine.startsWith(start))
      throw malformed('the file does not begin with "age-encryption.org/v1"', {
        hint: 'Is this an age file? A file that was converted on its way (line ends, UTF-16) cannot be read.',
      });
  }

  /** True if this line ends the header. */
  #readLine(line: string): boolean {
    // The version line was checked as it came in.
    if (this.#lineStart === versionLine.length) return false;
    if (this.#open) this.#readBodyLine(this.#open, line);
    else if (line.startsWith(stanzaStart)) this.#readArgumentLine(line);
    else if (line.startsWith(macStart)) {
      this.#readMacLine(line);
      return true;
    } else throw malformed('a line is neither the start of a stanza nor the MAC');
    return false;
  }

  #readArgumentLine(line: string): void {
    if (this.#stanzas.length === headerLimits.stanzas)
      throw malformed(`it has more than ${headerLimits.stanzas} recipient stanzas`);
    const [type, ...args] = line.slice(stanzaStart.length).split(' ', headerLimits.arguments + 2);
    if (args.length > headerLimits.arguments)
      throw malformed(`a stanza has more than ${headerLimits.arguments} arguments`);
    if (![type!, ...args].every(isArgument))
      throw malformed('a stanza argument is empty or not printable ASCII');
    this.#open = { type: type!, args, body: [] };
  }

  #readBodyLine(open: { type: string; args: string[]; body: Uint8Array[] }, line: string): void {
    const bytes = line.length <= bodyColumns ? decodeBase64(line) : undefined;
    if (!bytes) throw malformed('a stanza body is not canonical base64 in lines of 64 columns');
    open.body.push(bytes);
    if (line.length === bodyColumns) return;
    this.#stanzas.push({ type: open.type, args: open.args, body: concatBytes(open.body) });
    this.#open = undefined;
  }

  #readMacLine(line: string): void {
    const mac = line.length === macLineBytes - 1 && line[3] === ' ' ? decodeBase64(line.slice(4)) : undefined;
    if (!mac) throw malformed('its MAC is not canonical base64 of 32 bytes');
    if (this.#stanzas.length === 0) throw malformed('it has no recipient stanza');
    const bytes = Uint8Array.from(this.#bytes.subarray(0, this.#lineStart));
    this.header = { stanzas: this.#stanzas, mac, bytes };
  }
}

/** True for what may stand between the spaces of a stanza line. */
export function isArgument(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

function malformed(state: string, options: { hint?: string } = {}): SalvageError {
  return new SalvageError('age-header', `Cannot read the age header: ${state}`, options);
}

function unwritable(state: string): SalvageError {
  return new SalvageError('age-header', `Cannot write the age header: ${state}`);
}
