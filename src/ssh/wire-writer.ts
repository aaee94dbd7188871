import { concatBytes, utf8Bytes } from '../bytes/bytes.ts';

/** uint32 of RFC 4251 section 5. */
export function encodeUint32(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** string of RFC 4251 section 5; text is encoded as UTF-8. */
export function encodeString(content: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const bytes = typeof content === 'string' ? utf8Bytes(content) : content;
  return concatBytes([encodeUint32(bytes.length), bytes]);
}

/** mpint of RFC 4251 section 5 for the positive number with these big-endian bytes. */
export function encodePositiveInteger(bigEndian: Uint8Array): Uint8Array<ArrayBuffer> {
  let start = 0;
  while (start < bigEndian.length && bigEndian[start] === 0) start++;
  const digits = bigEndian.subarray(start);
  const sign = digits.length > 0 && digits[0]! >= 0x80 ? [new Uint8Array(1)] : [];
  return encodeString(concatBytes([...sign, digits]));
}
