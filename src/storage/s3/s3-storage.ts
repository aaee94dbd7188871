import {
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix, checkObjectName } from '../object-name.ts';
import { stagedParts, type StagedObject, type StageSpec } from '../staged-object.ts';
import type {
  ByteRange,
  CreateResult,
  ObjectLock,
  ObjectStat,
  ObjectVersions,
  Storage,
  StorageCapabilities,
} from '../storage.ts';
import { cutIntoParts, gatherParts } from './cut-into-parts.ts';
import { uploadInParts } from './multipart-upload.ts';
import { readObject } from './read-object.ts';
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts';
import { isAbsence, isRefused, isTaken } from './s3-failure.ts';
import { retentionParameters, S3ObjectLock } from './s3-object-lock.ts';
import { S3Versions } from './s3-versions.ts';
import { removeUnfinishedUploads } from './unfinished-uploads.ts';
import { signFor, uploadBody } from './upload-body.ts';

export interface S3StorageOptions extends S3BucketOptions {
  /** Something that a user should know while the storage is used. */
  readonly notify: (message: string) => void;
}

/** Larger objects are stored in parts. */
const largestSinglePut = 64 * 1024 * 1024;
/** Names of packs and index objects carry the SHA-256 of what they name (docs/design/format.md "Layout"). */
const digestInName = /(?:^|\/)([0-9a-f]{64})\.age$/;

/**
 * Objects below a prefix of an S3 bucket, at AWS or anything compatible. New objects are created with `If-None-Match: *`;
 * servers that are not known to honour that are asked for the name first, which a racing writer can slip past.
 */
export class S3Storage implements Storage {
  readonly description: string;
  readonly capabilities: StorageCapabilities = { exclusiveCreate: false, remove: true };
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly #bucket: S3Bucket;
  readonly #versions: S3Versions;
  readonly #lock: S3ObjectLock;

  constructor(options: S3StorageOptions) {
    this.description = options.description;
    this.#bucket = new S3Bucket(options);
    this.#versions = new S3Versions(this.#bucket, options.notify);
    this.#lock = new S3ObjectLock(this.#bucket, this.#versions);
  }

  get versions(): ObjectVersions {
    return this.#versions;
  }

  get objectLock(): ObjectLock {
    return this.#lock;
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    checkObjectName(name);
    signal?.throwIfAborted();
    if (await this.#isTaken(name, signal)) return 'exists';
    const sizeBytes = body.reduce((sum, part) => sum + part.length, 0);
    return sizeBytes > largestSinglePut
      ? await this.#createInParts(name, cutIntoParts(body, this.#bucket.place.partBytes), signal)
      : await this.#put(name, body, signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    checkObjectName(name);
    signal?.throwIfAborted();
    if (await this.#isTaken(name, signal)) return 'exists';
    const parts = gatherParts(body, this.#bucket.place.partBytes);
    const first = await parts.next();
    const second = first.done ? first : await parts.next();
    if (second.done) return await this.#put(name, first.value ?? [], signal);
    async function* all(): AsyncGenerator<readonly Uint8Array[]> {
      try {
        yield first.value!;
        yield second.value!;
        for (let next = await parts.next(); !next.done; next = await parts.next()) yield next.value;
      } finally {
        await parts.return(undefined);
      }
    }
    return await this.#createInParts(name, all(), signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.create(staged.name, stagedParts(staged), signal);
  }

  /** The server answers when an object is durable. */
  async settle(signal?: AbortSignal): Promise<void> {
    await Promise.resolve();
    signal?.throwIfAborted();
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkObjectName(name);
    signal?.throwIfAborted();
    // The protocol has no empty range.
    if (range?.length === 0) return (await this.stat(name, signal)) && new Uint8Array(0);
    try {
      return await readObject(this.#bucket, name, this.#versions.preferredOf(name)?.id, range, signal);
    } catch (error) {
      // Who may list a part of the bucket only is denied what is not there.
      const isDenied = error instanceof SalvageError && error.details['failure'] === 'AccessDenied';
      if (isDenied && !(await this.#find(name, signal))) return undefined;
      throw error;
    }
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    checkObjectName(name);
    const preferred = this.#versions.preferredOf(name);
    if (preferred) return preferred;
    const command = new HeadObjectCommand(this.#target(name));
    try {
      const { ContentLength: sizeBytes = 0, LastModified: receivedAt } = await this.#bucket.send(
        `look at "${name}"`,
        command,
        signal,
        (error) => isAbsence(error) || isRefused(error),
      );
      return { name, sizeBytes, receivedAt };
    } catch (error) {
      if (isAbsence(error)) return undefined;
      // A host that may create and list may not read all that it has created.
      if (isRefused(error)) return await this.#find(name, signal);
      throw error;
    }
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    let last = '';
    let ContinuationToken: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket.place.bucket,
        Prefix: this.#bucket.keyOf(prefix),
        EncodingType: 'url',
        ContinuationToken,
      });
      const page = await this.#bucket.send(`list "${prefix}"`, command, signal);
      for (const { Key, Size: sizeBytes = 0, LastModified: receivedAt } of page.Contents ?? []) {
        const name = this.#bucket.nameOf(Key);
        if (name === undefined) continue;
        // Keys of object names sort as their bytes do, and a server that repeats itself must not keep us for ever.
        if (name <= last) throw this.#disorder(prefix, name);
        last = name;
        yield { name, sizeBytes, receivedAt };
      }
      if (page.IsTruncated && page.NextContinuationToken === ContinuationToken)
        throw this.#disorder(prefix, last);
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  /** In a versioned bucket the version stays behind until the bucket's lifecycle rule ends it, after its lock. */
  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    checkObjectName(name);
    signal?.throwIfAborted();
    if (!(await this.#find(name, signal))) return 'absent';
    const command = new DeleteObjectCommand(this.#target(name));
    await this.#bucket.send(`remove "${name}"`, command, signal);
    return 'removed';
  }

  /** Of uploads in parts, which alone leave anything behind. */
  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    return await removeUnfinishedUploads(this.#bucket, untouchedMs, signal);
  }

  async close(): Promise<void> {
    await Promise.resolve();
    this.#versions.close();
    this.#bucket.destroy();
  }

  async #put(
    name: string,
    parts: readonly Uint8Array[],
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    try {
      await this.#bucket.conditionally(async (condition) => {
        const body = uploadBody(parts, this.#bucket.place.checksums, digestInName.exec(name)?.[1]);
        const command = new PutObjectCommand({
          ...this.#target(name),
          ...body.parameters,
          ...retentionParameters(this.#bucket.retention),
          ...condition,
        });
        signFor(command, body);
        await this.#bucket.send(`store "${name}"`, command, signal, isTaken);
      });
    } catch (error) {
      if (isTaken(error)) return 'exists';
      throw error;
    }
    this.#lock.noteCreated(name);
    return 'created';
  }

  async #createInParts(
    name: string,
    parts: AsyncIterable<readonly Uint8Array[]> | Iterable<readonly Uint8Array[]>,
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    const uploaded = await uploadInParts(parts, { bucket: this.#bucket, name, signal });
    if (uploaded === 'exists') return 'exists';
    await this.#lock.lockUploaded(name, uploaded.id, signal);
    return 'created';
  }

  async #isTaken(name: string, signal: AbortSignal | undefined): Promise<boolean> {
    return !this.#bucket.honoursConditions && (await this.#find(name, signal)) !== undefined;
  }

  /** `stat` for those who may list and not read. */
  async #find(name: string, signal: AbortSignal | undefined): Promise<ObjectStat | undefined> {
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket.place.bucket,
      Prefix: this.#bucket.keyOf(name),
      MaxKeys: 1,
      EncodingType: 'url',
    });
    const { Contents } = await this.#bucket.send(`look for "${name}"`, command, signal);
    const { Key, Size: sizeBytes = 0, LastModified: receivedAt } = Contents?.[0] ?? {};
    return this.#bucket.nameOf(Key) === name ? { name, sizeBytes, receivedAt } : undefined;
  }

  #target(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket.place.bucket, Key: this.#bucket.keyOf(name) };
  }

  #disorder(prefix: string, name: string): SalvageError {
    return new SalvageError(
      'failed',
      `Cannot list "${prefix}" in "${this.description}": the names are out of order at "${name}"`,
      { hint: 'Only general purpose buckets list in order; a directory bucket cannot hold a repository.' },
    );
  }
}
