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
import type { TroubleKind } from './trouble.ts';
import { blobReferenceBytes, type OpenJob, type VerifyAnswer, type VerifyJob } from './verify-messages.ts';

/** Fits the cache of a processor, and is a small number of requests where each one travels. */
const pieceBytes = 1024 * 1024;
const remotePieceBytes = 16 * 1024 * 1024;

type Finding = VerifyAnswer['troubles'][number];

/** The work of one verifying thread. Synchronous; holds one buffer, and one frame where it opens packs. */
export class ObjectVerifier {
  readonly #objects: ObjectReader;
  readonly #piece: Buffer;
  #troubles: Finding[] = [];
  #bytes = 0;
  #blobs = 0;

  constructor(objects: ObjectReader) {
    this.#objects = objects;
    this.#piece = Buffer.allocUnsafeSlow(objects.isRemote ? remotePieceBytes : pieceBytes);
  }

  run(job: VerifyJob): VerifyAnswer {
    this.#troubles = [];
    this.#bytes = 0;
    this.#blobs = 0;
    try {
      if (job.kind === 'hash') this.#hash(job.name, job.digest);
      else this.#open(job);
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

  /** True if the object is what its digest says. */
  #hash(name: string, expected: ObjectDigest): boolean {
    const hash = createHash('sha256');
    let head = Buffer.alloc(0);
    let size = 0;
    for (;;) {
      const length = this.#objects.readInto(name, size, this.#piece);
      const bytes = this.#piece.subarray(0, length);
      if (size === 0) head = Buffer.from(bytes.subarray(0, 64 * 1024));
      hash.update(bytes);
      size += length;
      if (length < this.#piece.length) break;
    }
    this.#bytes += size;
    const found = hash.digest('hex');
    if (found === expected) return true;
    if (isCutShort(head, size, name))
      this.#find('truncated-object', `"${name}" was cut short: ${size} bytes are left of it.`);
    else
      this.#find(
        'changed-object',
        `"${name}" was changed: the SHA-256 of its ${size} bytes is ${found} and not ${expected}.`,
      );
    return false;
  }

  #open({ object, digest, blobs, whole }: OpenJob): void {
    if (whole && !this.#hash(object.name, digest)) return;
    const held = new HeldRanges(new Uint8Array(0));
    const run = <T>(work: Fetch<T>): T =>
      fetchSync(held.serve(work), (range) => this.#objects.read(object.name, range));
    const reader = run(PackReader.open(object));
    const wanted = sortedReferences(blobs);
    let next = 0;
    for (const [index, frame] of reader.frames.entries()) {
      const end = frame.rawOffset + frame.rawBytes;
      const isWanted = next < wanted.length && wanted[next]!.offset < end;
      if (!whole && !isWanted) continue;
      let raw: Uint8Array;
      try {
        raw = run(reader.readFrame(index));
      } catch (error) {
        if (!(error instanceof SalvageError)) throw error;
        this.#find('damaged-content', error.message);
        while (next < wanted.length && wanted[next]!.offset < end) next++;
        continue;
      }
      for (; next < wanted.length && wanted[next]!.offset < end; next++) {
        const { offset, length, digest: blobDigest } = wanted[next]!;
        const start = offset - frame.rawOffset;
        if (offset + length > end)
          this.#find('damaged-content', `"${object.name}" has no blob of ${length} bytes at ${offset}.`);
        else if (
          !equalBytes(
            createHash('sha256')
              .update(raw.subarray(start, start + length))
              .digest(),
            blobDigest,
          )
        )
          this.#find(
            'damaged-content',
            `The blob of ${length} bytes at ${offset} in "${object.name}" has another SHA-256 than the tree says.`,
          );
        this.#blobs++;
      }
    }
    for (; next < wanted.length; next++)
      this.#find('damaged-content', `"${object.name}" ends before the blob at ${wanted[next]!.offset}.`);
    if (whole) run(reader.checkPadding());
  }

  #find(kind: TroubleKind, message: string): void {
    this.#troubles.push({ kind, message });
  }
}

interface BlobReference {
  readonly offset: number;
  readonly length: number;
  readonly digest: Uint8Array;
}

/** In order of offset, each once. */
function sortedReferences(bytes: Uint8Array): BlobReference[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all: BlobReference[] = [];
  for (let at = 0; at < buffer.length; at += blobReferenceBytes)
    all.push({
      offset: buffer.readUInt32LE(at),
      length: buffer.readUInt32LE(at + 4),
      digest: buffer.subarray(at + 8, at + blobReferenceBytes),
    });
  all.sort((a, b) => a.offset - b.offset || a.length - b.length);
  return all.filter((reference, index) => {
    const before = all[index - 1];
    return !(
      before?.offset === reference.offset &&
      before.length === reference.length &&
      equalBytes(before.digest, reference.digest)
    );
  });
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
