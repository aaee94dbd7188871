import { inflateSync } from 'node:zlib';
import * as files from 'cctv-age';

export type Expectation =
  | 'success'
  | 'header failure'
  | 'armor failure'
  | 'payload failure'
  | 'no match'
  | 'HMAC failure';

/** One official test vector of age (C2SP/CCTV, folder age). */
export interface AgeVector {
  readonly name: string;
  readonly expect: Expectation;
  /** SHA-256 in hex of all plaintext that a streaming reader releases, also before a failure. */
  readonly payload: string | undefined;
  readonly identities: readonly string[];
  readonly passphrases: readonly string[];
  readonly armored: boolean;
  readonly fileKey: Uint8Array | undefined;
  readonly file: Uint8Array;
}

const knownFields = [
  'expect',
  'payload',
  'identity',
  'passphrase',
  'armored',
  'file key',
  'comment',
  'compressed',
];

/** All vectors of the npm package cctv-age. */
export function readAgeVectors(): AgeVector[] {
  return Object.entries(files as unknown as Record<string, Uint8Array>)
    .filter(([name]) => name !== 'default' && name !== 'module.exports')
    .map(([name, bytes]) => parseVector(name, Buffer.from(bytes)));
}

function parseVector(name: string, bytes: Buffer): AgeVector {
  const split = bytes.indexOf('\n\n');
  const fields: Record<string, string[]> = {};
  for (const line of bytes.toString('utf8', 0, split).split('\n')) {
    const colon = line.indexOf(': ');
    const key = line.slice(0, colon);
    if (!knownFields.includes(key)) throw new Error(`${name}: unknown field ${key}`);
    (fields[key] ??= []).push(line.slice(colon + 2));
  }
  const body = bytes.subarray(split + 2);
  const fileKey = fields['file key']?.[0];
  return {
    name,
    expect: fields['expect']![0] as Expectation,
    payload: fields['payload']?.[0],
    identities: fields['identity'] ?? [],
    passphrases: fields['passphrase'] ?? [],
    armored: fields['armored']?.[0] === 'yes',
    fileKey: fileKey === undefined ? undefined : Buffer.from(fileKey, 'hex'),
    file: fields['compressed']?.[0] === 'zlib' ? inflateSync(body) : body,
  };
}
