import { damagedTar } from './tar-header.ts';

/**
 * One record of a pax extended header, `LENGTH KEY=VALUE\n`, where LENGTH counts itself (POSIX.1-2017 pax, "pax Extended
 * Header"). Values are bytes and may hold anything.
 */
export function encodePaxRecord(key: string, value: string | Uint8Array): Buffer {
  const tail = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as Uint8Array), Buffer.from('\n')]);
  let length = tail.length + 1;
  while (String(length).length + tail.length !== length) length = String(length).length + tail.length;
  return Buffer.concat([Buffer.from(String(length)), tail]);
}

/**
 * The records of an extended header in their order, keys as UTF-8 text, values as views of `bytes`. `offset` is the
 * header's place in the archive, for the error.
 *
 * @throws SalvageError 'damaged' if a length leads out of the header or a record has no '='.
 */
export function* decodePaxRecords(bytes: Buffer, offset: number): Generator<[key: string, value: Buffer]> {
  let start = 0;
  // Some writers fill the block with NULs that they count.
  while (start < bytes.length && bytes[start] !== 0) {
    const space = bytes.indexOf(0x20, start);
    const digits = space < 0 || space - start > 10 ? '' : bytes.toString('latin1', start, space);
    const end = start + Number(digits);
    if (!/^[0-9]+$/.test(digits) || end <= space || end > bytes.length || bytes[end - 1] !== 0x0a) {
      throw damagedTar(offset, 'a record of the extended header has a wrong length');
    }
    const equals = bytes.indexOf(0x3d, space);
    if (equals < 0 || equals >= end - 1) {
      throw damagedTar(offset, 'a record of the extended header has no value');
    }
    yield [bytes.toString('utf8', space + 1, equals), bytes.subarray(equals + 1, end - 1)];
    start = end;
  }
}

/** A time as pax writes it: decimal seconds, with a fraction only where there is one. */
export function formatPaxTime(ns: bigint): string {
  const absolute = ns < 0n ? -ns : ns;
  const fraction = absolute % 1_000_000_000n;
  const seconds = `${ns < 0n ? '-' : ''}${absolute / 1_000_000_000n}`;
  return fraction === 0n ? seconds : `${seconds}.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
}

/** The reverse of `formatPaxTime`; digits beyond nanoseconds are cut. Undefined if it is no time. */
export function parsePaxTime(text: string): bigint | undefined {
  const match = /^(-?)([0-9]{1,17})(?:\.([0-9]*))?$/.exec(text);
  if (!match) return undefined;
  const ns = BigInt(match[2]!) * 1_000_000_000n + BigInt((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  return match[1] ? -ns : ns;
}
