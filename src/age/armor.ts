import { asBuffer, concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';

const beginLine = '-----BEGIN AGE ENCRYPTED FILE-----';
const endLine = '-----END AGE ENCRYPTED FILE-----';
const columns = 64;
const lineBytes = 48;
/** What age takes before and after the block. */
const maxWhitespace = 1024;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** Encodes an age file that comes in pieces of any size (C2SP age.md "ASCII armor"). Parts belong one after the other. */
export class ArmorEncoder {
  #started = false;
  #carry: Uint8Array = new Uint8Array(0);

  push(bytes: Uint8Array): Uint8Array[] {
    const parts = this.#start();
    const input = this.#carry.length === 0 ? bytes : concatBytes([this.#carry, bytes]);
    const whole = input.length - (input.length % lineBytes);
    if (whole > 0) parts.push(encodeLines(input.subarray(0, whole)));
    this.#carry = Uint8Array.from(input.subarray(whole));
    return parts;
  }

  finish(): Uint8Array[] {
    const parts = this.#start();
    if (this.#carry.length > 0) parts.push(encodeLines(this.#carry));
    parts.push(utf8Bytes(`${endLine}\n`));
    return parts;
  }

  #start(): Uint8Array[] {
    if (this.#started) return [];
    this.#started = true;
    return [utf8Bytes(`${beginLine}\n`)];
  }
}

/** Padded base64 in lines of 64 columns, each with its line feed. */
function encodeLines(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(asBuffer(bytes).toString('base64'), 'latin1');
  const lines = Math.ceil(text.length / columns);
  const out = Buffer.allocUnsafe(text.length + lines);
  for (let line = 0; line < lines; line++) {
    const start = line * columns;
    const end = Math.min(start + columns, text.length);
    text.copy(out, start + line, start, end);
    out[end + line] = lineFeed;
  }
  return out;
}

type ArmorPart = 'before' | 'body' | 'end line' | 'after';

/**
 * Decodes an armored file that comes in pieces of any size: strict PEM, as age reads it. LF or CRLF; whitespace before
 * and after the block, up to 1 KiB. What it returns is not authenticated, and whole only once `finish` has returned.
 */
export class ArmorDecoder {
  #state: ArmorPart = 'before';
  #carry: Uint8Array = new Uint8Array(0);
  #whitespace = 0;

  /** @throws age-armor at the first byte that cannot belong to an armored age file */
  push(bytes: Uint8Array): Uint8Array[] {
    const input = asBuffer(this.#carry.length === 0 ? bytes : concatBytes([this.#carry, bytes]));
    const parts: Uint8Array[] = [];
    let offset = 0;
    while (this.#state !== 'after') {
      if (this.#state === 'body') offset = decodeFullLines(input, offset, parts);
      const lineEnd = input.indexOf(lineFeed, offset);
      if (lineEnd < 0) break;
      this.#readLine(trimCarriageReturn(input.toString('latin1', offset, lineEnd)), parts);
      offset = lineEnd + 1;
    }
    const rest = input.subarray(offset);
    if (this.#state === 'after') this.#skipWhitespace(rest.toString('latin1'));
    else if (rest.length > maxWhitespace) throw malformed('a line is too long');
    this.#carry = this.#state === 'after' ? new Uint8Array(0) : Uint8Array.from(rest);
    return parts;
  }

  /** @throws age-armor if the end line has not been read */
  finish(): Uint8Array[] {
    const parts: Uint8Array[] = [];
    // The end line may do without a line feed.
    if (this.#carry.length > 0) this.#readLine(asBuffer(this.#carry).toString('latin1'), parts);
    if (this.#state !== 'after') throw malformed('it ends without its END line');
    return parts;
  }

  #readLine(line: string, parts: Uint8Array[]): void {
    if (this.#state === 'before') {
      if (line === beginLine) this.#state = 'body';
      else this.#skipWhitespace(`${line}\n`);
    } else if (line === endLine) {
      this.#state = 'after';
    } else if (this.#state === 'end line') {
      throw malformed('its END line is missing after a line that is not full');
    } else {
      const bytes = Buffer.from(line, 'base64');
      if (line === '' || line.length > columns || bytes.toString('base64') !== line)
        throw malformed(`a line is not canonical base64 of at most ${columns} columns`);
      if (bytes.length < lineBytes) this.#state = 'end line';
      parts.push(bytes);
    }
  }

  #skipWhitespace(text: string): void {
    if (/[^ \t\r\n]/.test(text))
      throw malformed(
        this.#state === 'before' ? `it does not begin with ${beginLine}` : 'other data follows it',
      );
    this.#whitespace += text.length;
    if (this.#whitespace > maxWhitespace) throw malformed('there is too much white space around it');
  }
}

/**
 * Decodes the run of full lines at `offset` in one go and returns where it ends. What it leaves, even a full line, is
 * for the line-by-line way, which also says what is wrong.
 */
function decodeFullLines(input: Buffer, offset: number, parts: Uint8Array[]): number {
  const stride = input[offset + columns] === carriageReturn ? columns + 2 : columns + 1;
  let end = offset;
  while (end + stride <= input.length && input[end + stride - 1] === lineFeed) {
    if (stride === columns + 2 && input[end + columns] !== carriageReturn) break;
    end += stride;
  }
  const lines = (end - offset) / stride;
  if (lines < 2) return offset;
  const text = input.subarray(offset, end);
  // The decoder skips line ends, but foreign characters as well, and takes the URL alphabet: the length and a search show it.
  const bytes = Buffer.from(text.toString('latin1'), 'base64');
  if (bytes.length !== lines * lineBytes || text.includes('-') || text.includes('_')) return offset;
  parts.push(bytes);
  return end;
}

function trimCarriageReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

function malformed(state: string): SalvageError {
  return new SalvageError('age-armor', `Cannot read the ASCII armor: ${state}`);
}
