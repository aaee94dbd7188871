import { createHash } from 'node:crypto';
import { damagedObject } from '../../repository/damage.ts';
import type { ObjectDigest } from '../../repository/ids.ts';
import type { Storage } from '../../storage/storage.ts';
import { findByDigest, tellsOfDamage } from './find-original.ts';

/** The whole object, or undefined if there is none. @throws damaged if it has more than `maxBytes` */
export async function readBounded(
  storage: Storage,
  name: string,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  // One byte more tells an object that is too long from one that just fits.
  const bytes = await storage.read(name, { offset: 0, length: maxBytes + 1 }, signal);
  if (bytes && bytes.length > maxBytes)
    throw damagedObject(name, `it has more than the ${maxBytes} bytes that are allowed`);
  return bytes;
}

/** As `readBounded`, for an object that must be there. @throws damaged also if it is not */
export async function readRequired(
  storage: Storage,
  name: string,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = await readBounded(storage, name, maxBytes, signal);
  if (!bytes) throw damagedObject(name, 'it is missing');
  return bytes;
}

/**
 * An object that the signed list names with its digest, or what it was before somebody wrote over it or removed it.
 * @throws damaged if no version of it has this SHA-256
 */
export async function readDigested(
  storage: Storage,
  name: string,
  maxBytes: number,
  expected: ObjectDigest,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const read = async (): Promise<Uint8Array> => {
    const bytes = await readRequired(storage, name, maxBytes, signal);
    checkDigest(name, bytes, expected);
    return bytes;
  };
  try {
    return await read();
  } catch (error) {
    if (!tellsOfDamage(error) || !(await findByDigest(storage, name, expected, signal))) throw error;
    return await read();
  }
}

/** @throws damaged unless the bytes have this SHA-256 */
export function checkDigest(name: string, bytes: Uint8Array, expected: ObjectDigest): void {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== expected)
    throw damagedObject(name, `its SHA-256 is ${found} where the signed list says ${expected}`);
}
