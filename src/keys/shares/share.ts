import { createHash, timingSafeEqual } from 'node:crypto';
import { decodeBech32, encodeBech32 } from '../../age/bech32.ts';
import { concatBytes, equalBytes, toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { packSecretMaterial, unpackSecretMaterial, type SecretMaterial } from './secret-material.ts';
import { interpolate, splitSecret, type Point } from './shamir.ts';

/**
 * One share of a secret. As bytes: version 1; threshold; index; 8 bytes that all shares of a set have in common; the
 * point's y; and the first 4 bytes of SHA-256 over all that, against typing errors. What is split is the secret followed by the
 * first 16 bytes of SHA-256 over set and secret: shares that do not belong together never make a wrong secret unnoticed.
 */
export interface Share {
  /** So many shares are needed. */
  readonly threshold: number;
  /** 1 to 255; the x of the point. */
  readonly index: number;
  readonly setId: Uint8Array;
  readonly y: Uint8Array;
}

const version = 1;
const setIdBytes = 8;
const checkBytes = 4;
const digestBytes = 16;
const headBytes = 3 + setIdBytes;
const mostBytes = 2048;
const prefix = 'salvage-share-';

/** `count` shares, any `threshold` of which give the secret back. @throws usage for numbers that make no sense */
export function splitIntoShares(secret: SecretMaterial, threshold: number, count: number): Share[] {
  if (!Number.isInteger(threshold) || !Number.isInteger(count) || count > 255)
    throw new SalvageError('usage', 'Cannot split the key: there are 2 to 255 shares');
  if (threshold < 2 || threshold > count)
    throw new SalvageError(
      'usage',
      `Cannot split the key so that any ${threshold} of ${count} shares open it: at least 2 shares must be needed, and not more than there are`,
      { hint: 'For two of three: -k 2 -n 3' },
    );
  const setId = randomBytes(setIdBytes);
  const packed = packSecretMaterial(secret);
  const points = splitSecret(concatBytes([packed, digestOf(setId, threshold, packed)]), threshold, count);
  return points.map(({ x, y }) => ({ threshold, index: x, setId, y }));
}

/** How a share is called on paper: eight digits that all of its set have in common. */
export function setName({ setId }: Share): string {
  return toHex(setId.subarray(0, 4));
}

export function encodeShare({ threshold, index, setId, y }: Share): Uint8Array {
  const bytes = concatBytes([Uint8Array.of(version, threshold, index), setId, y]);
  return concatBytes([bytes, checkOf(bytes)]);
}

/** `SALVAGE-SHARE-1…`, in the characters that make small QR codes. */
export function formatShare(share: Share): string {
  return encodeBech32(prefix, encodeShare(share)).toUpperCase();
}

/** @throws bad-key */
export function parseShare(text: string): Share {
  const decoded = decodeBech32(text);
  if (decoded?.prefix !== prefix) throw unreadable('it is mistyped or shortened: its checksum does not fit');
  return decodeShare(decoded.bytes);
}

/** The share; `bytes` may have one zero byte too many, as words have it. @throws bad-key */
export function decodeShare(bytes: Uint8Array): Share {
  if (bytes.length > mostBytes) throw unreadable('it is too long');
  if (bytes[0] !== version) throw unreadable('it is none of this version');
  const trimmed = [bytes, ...(bytes.at(-1) === 0 ? [bytes.subarray(0, -1)] : [])].find(
    (candidate) =>
      candidate.length > headBytes + digestBytes + checkBytes &&
      equalBytes(checkOf(candidate.subarray(0, -checkBytes)), candidate.subarray(-checkBytes)),
  );
  if (!trimmed) throw unreadable('its checksum does not fit');
  const [, threshold, index] = trimmed as unknown as [number, number, number];
  if (threshold < 2 || index < 1) throw unreadable('its numbers make no sense');
  return {
    threshold,
    index,
    setId: trimmed.subarray(3, headBytes),
    y: trimmed.subarray(headBytes, -checkBytes),
  };
}

/**
 * The secret of these shares. More than are needed must all fit.
 * @throws bad-key with the reason: too few, of different sets, one twice with different content, or one that is wrong. There is
 *   no result that is not the secret.
 */
export function joinShares(shares: readonly Share[]): SecretMaterial {
  const [first] = shares;
  if (!first) throw unjoinable('there is none');
  const { threshold, setId } = first;
  const points = new Map<number, Point>();
  for (const share of shares) {
    if (!equalBytes(share.setId, setId))
      throw unjoinable(
        `share ${first.index} is of the set ${setName(first)} and share ${share.index} of the set ${setName(share)}`,
        'Shares of different keys cannot be mixed, nor those of two splits of one key.',
      );
    if (share.threshold !== threshold || share.y.length !== first.y.length)
      throw unjoinable(`shares ${first.index} and ${share.index} contradict each other`);
    const same = points.get(share.index);
    if (same && !equalBytes(same.y, share.y))
      throw unjoinable(`there are two different shares with the number ${share.index}`);
    points.set(share.index, { x: share.index, y: share.y });
  }
  if (points.size < threshold)
    throw unjoinable(
      `${points.size} of the ${threshold} that are needed ${points.size === 1 ? 'is' : 'are'} there (number ${[...points.keys()].join(', ')})`,
      points.size < shares.length ? 'The same share counts once.' : 'Bring more shares of this set together.',
    );
  const all = [...points.values()];
  const enough = all.slice(0, threshold);
  const packed = interpolate(enough, 0);
  const secret = packed.subarray(0, -digestBytes);
  const fits = timingSafeEqual(digestOf(setId, threshold, secret), packed.subarray(-digestBytes));
  const stray = all.slice(threshold).find(({ x, y }) => !equalBytes(interpolate(enough, x), y));
  if (!fits || stray)
    throw unjoinable(
      'they do not fit together: at least one is wrong or forged',
      all.length > threshold
        ? 'Leave out one after the other until the rest fits.'
        : 'Try again with another share in the place of each.',
    );
  return unpackSecretMaterial(secret);
}

function digestOf(setId: Uint8Array, threshold: number, secret: Uint8Array): Uint8Array {
  return createHash('sha256')
    .update('salvage-share-secret\0')
    .update(setId)
    .update(Uint8Array.of(threshold))
    .update(secret)
    .digest()
    .subarray(0, digestBytes);
}

function checkOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest().subarray(0, checkBytes);
}

function unreadable(state: string): SalvageError {
  return new SalvageError('bad-key', `Cannot read the share: ${state}`, {
    hint: 'Compare it with the paper, or scan its QR code.',
  });
}

function unjoinable(state: string, hint?: string): SalvageError {
  return new SalvageError('bad-key', `Cannot join the shares: ${state}`, hint === undefined ? {} : { hint });
}
