import { asBuffer } from '../bytes/bytes.ts';

/** RFC 4648 standard alphabet without padding, as age headers have it. */
export function encodeBase64(bytes: Uint8Array): string {
  const text = asBuffer(bytes).toString('base64');
  const padding = text.indexOf('=');
  return padding < 0 ? text : text.slice(0, padding);
}

/**
 * The bytes of unpadded standard base64, or undefined if the text has padding, a foreign character, an impossible
 * length or trailing bits that are not zero: there is one encoding of every byte string, and only that one is taken.
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  // Buffer.from is lenient; encoding its result again shows whether it had to be.
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return encodeBase64(bytes) === text ? bytes : undefined;
}
