import { randomBytes } from '../clock/random.ts';

/** Crockford's base 32: no i, l, o, u, which are mistaken for something else. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const groups = 7;
const groupCharacters = 4;

/** A passphrase of 140 random bits that can be read out and typed: seven groups of four letters and digits. */
export function generatePassphrase(): string {
  // 256 is a multiple of 32: every character is equally likely.
  const characters = Array.from(randomBytes(groups * groupCharacters), (byte) => alphabet[byte % 32]!);
  return Array.from({ length: groups }, (_, group) =>
    characters.slice(group * groupCharacters, (group + 1) * groupCharacters).join(''),
  ).join('-');
}
