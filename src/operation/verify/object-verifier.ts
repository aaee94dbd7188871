import { createHash } from 'node:crypto';
import { HeaderParser } from '../../age/header.ts';
import { payloadLayout } from '../../age/payload.ts';
import { equalBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectDigest } from '../../repository/ids.ts';
import { fetchSync, type Fetch } from '../../repository/pack/fetch.ts';
import { PackReader } from '../../repository/pack/pack-reader.ts';
import { HeldRanges } from '../reading/held-ranges.ts';
import type { ObjectReader } from '../worker/object-reader.ts';
import { HashedRanges } from './hashed-ranges.ts';
import type { TroubleKind } from './trouble.ts';
import { SortedReferences } from './sorted-references.ts';
import { type HashJob, type OpenJob, type VerifyAnswer, type VerifyJob } from './verify-messages.ts';

/** Runs work that asks for ranges of one object. */
type Run = <T>(work: Fetch<T>) => T;
type Finding = VerifyAnswer['troubles'][number];

/**
 * The work of one verifying thread. Synchronous; reads each object once, and holds a window of it and, where it opens
 * packs, one frame.
 */
export class ObjectVerifier {
  readonly #objects: ObjectReader;
  readonly #ranges: HashedRanges;
  #troubles: Finding[] = [];
  #bytes = 0;
  #blobs = 0;

  constructor(objects: ObjectReader) {
    this.#objects = objects;
    this.#ranges = new HashedRanges(objects);
  }

  run(job: VerifyJob): VerifyAnswer {
    this.#troubles = [];
    this.#bytes = 0;
    this.#blobs = 0;
    try {
      if (job.kind === 'hash') this.#hash(job);
      else if (job.whole) this.#openWhole(job);
      else this.#openPart(job);
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      const name = job.kind === 'hash' ? job.name : job.object.name;
      if (error.code === 'failed') this.#find('unreadable', error.message);
      else if (error.message.endsWith(': it is missing'))
        this.#find('missing-object', `"${name}" is missing.`);
      else this.#find('damaged-content', error.message);
    } finally {
      this.#objects.close();
    }
    return { bytes: this.#bytes, blobs: this.#blobs, troubles: this.#troubles };
  }

  #hash({ name, digest }: HashJob): void {
    this.#ranges.open(name);
    this.#compareDigest(name, digest);
  }

  /** Reads what is left of the object. True if it is what its digest says. */
  #compareDigest(name: string, expected: ObjectDigest): boolean {
    const { digest, sizeBytes, head } = this.#ranges.finish();
    this.#bytes += sizeBytes;
    if (digest === expected) return true;
    if (isCutShort(head, sizeBytes, name))
      this.#find('truncated-object', `"${name}" was cut short: ${sizeBytes} bytes are left of it.`);
    else
      this.#find(
        'changed-object',
        `"${name}" was changed: the SHA-256 of its ${sizeBytes} bytes is ${digest} and not ${expected}.`,
        digest as ObjectDigest,
      );
    return false;
  }

  /** Everything in the pack, and all of its bytes. */
  #openWhole(job: OpenJob): void {
    const { object, digest } = job;
    const run: Run = (work) => fetchSync(work, (range) => this.#ranges.read(range));
    this.#ranges.open(object.name);
    this.#notingDamage(() => {
      const reader = run(PackReader.open(object, { lends: true }));
      this.#ranges.goThrough();
      this.#checkBlobs(job, reader, run);
      run(reader.checkPadding());
    });
    // That the bytes are others than were signed is plainer than what came of it.
    const found = this.#troubles;
    this.#troubles = [];
    if (this.#compareDigest(object.name, digest)) this.#troubles = found;
  }

  /** What was not wanted yet when the whole pack was checked. */
  #openPart(job: OpenJob): void {
    const { object } = job;
    const held = new HeldRanges(new Uint8Array(0));
    const run: Run = (work) => fetchSync(held.serve(work), (range) => this.#objects.read(object.name, range));
    this.#checkBlobs(job, run(PackReader.open(object, { lends: true })), run);
  }

  #checkBlobs({ object, blobs, whole }: OpenJob, reader: PackReader, run: Run): void {
    const wanted = new SortedReferences(blobs);
    let next = 0;
    for (const [index, frame] of reader.frames.entries()) {
      const end = frame.rawOffset + frame.rawBytes;
      const first = next;
      while (next < wanted.length && wanted.offset(next) < end) next++;
      if (!whole && first === next) continue;
      this.#notingDamage(() => {
        const raw = run(reader.readFrame(index));
        for (let rank = first; rank < next; rank++)
          if (!wanted.isRepeated(rank)) this.#checkBlob(object.name, wanted, rank, raw, frame.rawOffset);
      });
    }
    for (; next < wanted.length; next++)
      if (!wanted.isRepeated(next))
        this.#find('damaged-content', `"${object.name}" ends before the blob at ${wanted.offset(next)}.`);
  }

  #checkBlob(name: string, wanted: SortedReferences, rank: number, raw: Uint8Array, rawOffset: number): void {
    const offset = wanted.offset(rank);
    const length = wanted.size(rank);
    const start = offset - rawOffset;
    const blob = raw.subarray(start, start + length);
    if (blob.length < length)
      this.#find('damaged-content', `"${name}" has no blob of ${length} bytes at ${offset}.`);
    else if (!equalBytes(createHash('sha256').update(blob).digest(), wanted.digest(rank)))
      this.#find(
        'damaged-content',
        `The blob of ${length} bytes at ${offset} in "${name}" has another SHA-256 than the tree says.`,
      );
    this.#blobs++;
  }

  /** Notes damage and goes on behind it. */
  #notingDamage(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SalvageError) || error.code === 'failed') throw error;
      this.#find('damaged-content', error.message);
    }
  }

  #find(kind: TroubleKind, message: string, found?: ObjectDigest): void {
    this.#troubles.push({ kind, message, ...(found !== undefined && { found }) });
  }
}

/** True if no age file has this size: age's chunks leave few sizes, and packs are padded. Without a key there is no surer sign. */
function isCutShort(head: Buffer, size: number, name: string): boolean {
  if (size === 0) return true;
  if (!name.endsWith('.age')) return false;
  try {
    const parser = new HeaderParser();
    if (!parser.push(head)) return head.length === size;
    const { plaintextBytes } = payloadLayout(size - parser.header!.bytes.length);
    return name.startsWith('packs/') && plaintextBytes > 0 && isOddPackSize(plaintextBytes);
  } catch {
    return size < 64 * 1024;
  }
}

/** A pack's plaintext is a multiple of 64 KiB or a Padmé size: both end in zero bits, more the larger it is. */
function isOddPackSize(plaintextBytes: number): boolean {
  const exponent = Math.floor(Math.log2(plaintextBytes));
  const significant = Math.floor(Math.log2(exponent || 1)) + 1;
  return plaintextBytes % 2 ** Math.max(0, exponent - significant) !== 0 && plaintextBytes % 65_536 !== 0;
}
