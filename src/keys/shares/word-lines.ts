import { createHash } from 'node:crypto';
import { concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';

// Words that can be read out and typed: proquints (arXiv:0901.4016), five letters for 16 bits, consonants and vowels in turn.
const consonants = 'bdfghjklmnprstvz';
const vowels = 'aiou';
const word = new RegExp(`^(?:[${consonants}][${vowels}]){2}[${consonants}]$`);
const bytesPerLine = 12;
const checkBytes = 2;

/**
 * Bytes as numbered lines of up to six words, each line with a seventh word that checks it: a typing error is found in its
 * line. The last byte of an odd number is followed by a zero; who reads knows the length from the content.
 */
export function encodeWordLines(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0, number = 1; at < bytes.length; at += bytesPerLine, number++) {
    const part = bytes.subarray(at, at + bytesPerLine);
    const even = part.length % 2 === 0 ? part : concatBytes([part, Uint8Array.of(0)]);
    const words = [...encodeWords(even), ...encodeWords(checkOf(number, even))];
    lines.push(`${String(number).padStart(2)}  ${words.join(' ')}`);
  }
  return lines;
}

/** True for a line that encodeWordLines may have made, however it was typed. */
export function looksLikeWords(line: string): boolean {
  const words = splitWords(line).filter((text) => !/^\d+[.:)]?$/.test(text));
  return words.length >= 2 && words.filter((text) => word.test(text)).length * 2 > words.length;
}

/**
 * The bytes. Numbers, capitals and white space are of no account, the order of the lines is.
 * @throws bad-key that names the line with the mistake
 */
export function decodeWordLines(lines: readonly string[]): Uint8Array {
  return concatBytes(
    lines.map((line, index) => {
      const number = index + 1;
      const words = splitWords(line).filter((text) => !/^\d+[.:)]?$/.test(text));
      const wrong = words.find((text) => !word.test(text));
      if (wrong !== undefined)
        throw mistyped(number, `word ${words.indexOf(wrong) + 1} is none that can stand there`);
      const bytes = Uint8Array.from(words.flatMap(decodeWord));
      const part = bytes.subarray(0, -checkBytes);
      if (part.length === 0 || part.length > bytesPerLine) throw mistyped(number, 'it has not 2 to 7 words');
      if (Buffer.compare(checkOf(number, part), bytes.subarray(-checkBytes)) !== 0)
        throw mistyped(
          number,
          'its last word does not fit the others; a word is wrong or lines have changed places',
        );
      return part;
    }),
  );
}

function splitWords(line: string): string[] {
  return line
    .toLowerCase()
    .split(/[\s-]+/)
    .filter((text) => text !== '');
}

function checkOf(number: number, part: Uint8Array): Uint8Array {
  return createHash('sha256').update(Uint8Array.of(number)).update(part).digest().subarray(0, checkBytes);
}

function encodeWords(bytes: Uint8Array): string[] {
  return Array.from({ length: bytes.length / 2 }, (_, index) => {
    const value = (bytes[2 * index]! << 8) | bytes[2 * index + 1]!;
    return (
      consonants[value >> 12]! +
      vowels[(value >> 10) & 3]! +
      consonants[(value >> 6) & 15]! +
      vowels[(value >> 4) & 3]! +
      consonants[value & 15]!
    );
  });
}

function decodeWord(text: string): [number, number] {
  let value = 0;
  for (const [at, letter] of text.split('').entries())
    value = at % 2 === 0 ? (value << 4) | consonants.indexOf(letter) : (value << 2) | vowels.indexOf(letter);
  return [value >> 8, value & 0xff];
}

function mistyped(number: number, state: string): SalvageError {
  return new SalvageError('bad-key', `Cannot read line ${number} of the words: ${state}`, {
    hint: 'Compare it with the paper and correct it.',
  });
}
