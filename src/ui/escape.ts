import { asBuffer } from '../bytes/bytes.ts';

/** What an unpaired byte 0xNN is held as until it is printed: a lone surrogate, which no decoded text contains. */
const rawByte = 0xdc00;

/**
 * Characters that move the cursor, hide text or change its order: C0, DEL, C1, line and paragraph separators, bidi
 * controls (Unicode TR 9), zero-width characters, tags, the byte order mark, and lone surrogates.
 */
const unsafe =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\p{Surrogate}]/gu;

const named: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' };

/**
 * The text on one line, with nothing in it that a terminal would obey: every control or invisible character becomes a
 * visible escape (`\n`, `\x1b`, `\u202e`), every byte that is not UTF-8 becomes `\xNN`. Everything that comes from
 * a file, an archive, storage or another host goes through here on its way to the user. Backslashes stay as they are,
 * so escaping twice is harmless.
 */
export function escapeForTerminal(text: string | Uint8Array): string {
  const decoded = typeof text === 'string' ? text : decodeKeepingBytes(text);
  return decoded.replace(unsafe, escapeCharacter);
}

function escapeCharacter(character: string): string {
  const short = named[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0)!;
  if (code >= rawByte + 0x80 && code <= rawByte + 0xff) return `\\x${(code - rawByte).toString(16)}`;
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}

/** UTF-8 with each byte that does not belong to a valid sequence kept as a lone surrogate. */
function decodeKeepingBytes(bytes: Uint8Array): string {
  const buffer = asBuffer(bytes);
  const whole = buffer.toString('utf8');
  if (!whole.includes('\ufffd')) return whole;
  let text = '';
  for (let at = 0; at < buffer.length;) {
    const length = sequenceLength(buffer[at]!);
    const sequence = buffer.subarray(at, at + length);
    const decoded = length === 0 ? '\ufffd' : sequence.toString('utf8');
    if (decoded.includes('\ufffd') && !sequence.equals(replacement)) {
      text += String.fromCharCode(rawByte + buffer[at]!);
      at++;
    } else {
      text += decoded;
      at += length;
    }
  }
  return text;
}

const replacement = Buffer.from('\ufffd');

function sequenceLength(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}
