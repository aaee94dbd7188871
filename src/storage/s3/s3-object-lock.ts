import {
  GetObjectRetentionCommand,
  PutObjectRetentionCommand,
  type ObjectLockRetentionMode,
} from '@aws-sdk/client-s3';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { ObjectLock, ObjectVersion, Retention } from '../storage.ts';
import { isRefused } from './s3-failure.ts';
import type { S3Bucket } from './s3-bucket.ts';
import type { S3Versions } from './s3-versions.ts';

/** From so many on, all versions below what the names have in common are listed, a thousand to a request. */
const listedTogether = 32;

/** Object Lock of S3: retention in either mode, never a legal hold, never a bypass. */
export class S3ObjectLock implements ObjectLock {
  readonly #bucket: S3Bucket;
  readonly #versions: S3Versions;
  /** Until when what this instance has created is locked, in milliseconds since 1970. */
  readonly #created = new Map<string, number>();

  constructor(bucket: S3Bucket, versions: S3Versions) {
    this.#bucket = bucket;
    this.#versions = versions;
  }

  lockNew(retention: Retention): void {
    this.#bucket.retention = retention;
  }

  /** This instance has created the object. */
  noteCreated(name: string): void {
    const { retention } = this.#bucket;
    if (retention) this.#created.set(name, retention.until.getTime());
  }

  /**
   * This instance has created the object in parts. Some servers, Ceph's gateway among them, forget the lock that such an
   * upload began with.
   */
  async lockUploaded(name: string, id: string | undefined, signal?: AbortSignal): Promise<void> {
    const { retention } = this.#bucket;
    if (retention && id !== undefined) await this.#extend({ name, id }, retention, signal);
    this.noteCreated(name);
  }

  async extend(names: readonly string[], retention: Retention, signal?: AbortSignal): Promise<void> {
    const untilMs = retention.until.getTime();
    const wanted = new Set(names.filter((name) => (this.#created.get(name) ?? 0) < untilMs));
    if (wanted.size === 0) return;
    const prefixes = wanted.size < listedTogether ? wanted : [commonPrefix([...wanted])];
    const found = new Map<string, ObjectVersion>();
    for (const prefix of prefixes)
      for await (const version of this.#versions.list(prefix, signal))
        // The first one is ours: whoever writes over it comes later.
        if (wanted.has(version.name) && !found.has(version.name)) found.set(version.name, version);
    const absent = [...wanted].find((name) => !found.has(name));
    if (absent !== undefined)
      throw new SalvageError(
        'failed',
        `Cannot extend the lock of "${absent}" in "${this.#bucket.description}": it is not there, or its versions may not be listed`,
        { hint: 'The host needs s3:ListBucketVersions; deploy/s3/host.json has what a host needs.' },
      );
    // The bucket bounds how many are under way.
    await Promise.all([...found.values()].map((version) => this.#extend(version, retention, signal)));
  }

  async #extend(
    { name, id }: Pick<ObjectVersion, 'name' | 'id'>,
    retention: Retention,
    signal?: AbortSignal,
  ): Promise<void> {
    const { place } = this.#bucket;
    const target = { Bucket: place.bucket, Key: this.#bucket.keyOf(name), VersionId: id };
    const command = new PutObjectRetentionCommand({
      ...target,
      Retention: { Mode: modeOf(retention), RetainUntilDate: retention.until },
    });
    const doing = `extend the lock of "${name}"`;
    try {
      await this.#bucket.sendPatiently(doing, command, signal, isRefused);
    } catch (error) {
      if (!isRefused(error)) throw error;
      // A lock that is longer or stronger already is refused as well.
      if (await this.#isLockedUntil(target, retention.until, signal)) return;
      throw new SalvageError('failed', `Cannot ${doing} in "${this.#bucket.description}": access is denied`, {
        hint: 'The host needs s3:PutObjectRetention; deploy/s3/host.json has what a host needs.',
        cause: error,
      });
    }
  }

  async #isLockedUntil(
    target: { readonly Bucket: string; readonly Key: string; readonly VersionId: string },
    until: Date,
    signal?: AbortSignal,
  ): Promise<boolean> {
    try {
      const command = new GetObjectRetentionCommand(target);
      const { Retention } = await this.#bucket.sendPatiently(
        `look at the lock of "${target.Key}"`,
        command,
        signal,
      );
      return (Retention?.RetainUntilDate ?? new Date(0)) >= until;
    } catch {
      signal?.throwIfAborted();
      return false;
    }
  }
}

/** The parameters of a request that creates an object. */
export function retentionParameters(retention: Retention | undefined): {
  readonly ObjectLockMode?: ObjectLockRetentionMode;
  readonly ObjectLockRetainUntilDate?: Date;
} {
  return retention ? { ObjectLockMode: modeOf(retention), ObjectLockRetainUntilDate: retention.until } : {};
}

function modeOf({ mode }: Retention): ObjectLockRetentionMode {
  return mode === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE';
}

function commonPrefix(names: readonly string[]): string {
  let prefix = names[0]!;
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix;
}
