import {
  ListObjectVersionsCommand,
  type DeleteMarkerEntry,
  type ListObjectVersionsCommandOutput,
  type ObjectVersion as ListedVersion,
} from '@aws-sdk/client-s3';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix } from '../object-name.ts';
import { retry } from '../retry/backoff.ts';
import type { ByteRange, ObjectVersion, ObjectVersions } from '../storage.ts';
import { failureName } from './s3-failure.ts';
import { decodeMarker, type S3Bucket } from './s3-bucket.ts';
import { readObject } from './read-object.ts';

/** Where versions are no business of this credential, or of this server. */
const refusals = new Set(['AccessDenied', 'MethodNotAllowed', 'NotImplemented']);
/** Versions of one name that are looked at: an attacker may have made any number. */
const mostVersions = 1000;

/** A version or a delete marker. */
interface Listed {
  readonly name: string;
  readonly id: string;
  readonly sizeBytes: number;
  readonly receivedAt: Date | undefined;
  readonly isLatest: boolean;
  readonly isMarker: boolean;
}

/** Older versions of objects. In a bucket without versions each object has one, and that is current. */
export class S3Versions implements ObjectVersions {
  readonly #bucket: S3Bucket;
  readonly #notify: (message: string) => void;
  readonly #preferred = new Map<string, ObjectVersion>();
  #wasRefused = false;

  constructor(bucket: S3Bucket, notify: (message: string) => void) {
    this.#bucket = bucket;
    this.#notify = notify;
  }

  get preferred(): Iterable<ObjectVersion> {
    return this.#preferred.values();
  }

  preferredOf(name: string): ObjectVersion | undefined {
    return this.#preferred.get(name);
  }

  prefer(version: ObjectVersion): void {
    const { name, superseded } = version;
    this.#preferred.set(name, version);
    // One is enough to raise the alarm; an attacker may have been at every object there is.
    if (this.#preferred.size > 1) return;
    const when = superseded?.at ? ` at ${superseded.at.toISOString()}` : '';
    const what = superseded?.by === 'removal' ? 'removed' : 'overwritten';
    this.#notify(
      `"${name}" was ${what}${when}, by somebody with the right to do so. What was signed is still there as an older version, and that is read`,
    );
  }

  /** Says how often that was so. */
  close(): void {
    const count = this.#preferred.size;
    if (count > 1) this.#notify(`${count} objects were overwritten or removed, and read from older versions`);
    this.#preferred.clear();
  }

  async read(
    version: ObjectVersion,
    range?: ByteRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const read = (): Promise<Uint8Array | undefined> =>
      readObject(this.#bucket, version.name, version.id, range, signal);
    return await retry(this.#bucket.retries, read, signal);
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectVersion> {
    checkListPrefix(prefix);
    let group: Listed[] = [];
    for await (const listed of this.#listAll(prefix, signal)) {
      if (group[0]?.name !== listed.name) {
        yield* inOrder(group);
        group = [];
      }
      // From the newest to the oldest: it is the oldest ones that matter, and the current one.
      if (group.length === mostVersions) group.splice(1, 1);
      group.push(listed);
    }
    yield* inOrder(group);
  }

  /** By name, those of one name from the newest to the oldest. */
  async *#listAll(prefix: string, signal?: AbortSignal): AsyncGenerator<Listed> {
    const { place } = this.#bucket;
    let KeyMarker: string | undefined;
    let VersionIdMarker: string | undefined;
    for (;;) {
      const command = new ListObjectVersionsCommand({
        Bucket: place.bucket,
        Prefix: this.#bucket.keyOf(prefix),
        EncodingType: 'url',
        KeyMarker,
        VersionIdMarker,
      });
      const page = await this.#ask(command, prefix, signal);
      if (!page) return;
      const listed = [
        ...this.#named(page.Versions ?? [], false),
        ...this.#named(page.DeleteMarkers ?? [], true),
      ];
      // Stable, so that what storage says of the order of one kind stays; times have whole seconds in some stores.
      listed.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : newestFirst(a, b)));
      yield* listed;
      if (!page.IsTruncated) return;
      const { NextKeyMarker, NextVersionIdMarker } = page;
      const next = NextKeyMarker === undefined ? undefined : decodeMarker(NextKeyMarker);
      if (next === undefined || (next === KeyMarker && NextVersionIdMarker === VersionIdMarker))
        throw new SalvageError(
          'failed',
          `Cannot list the versions of "${prefix}" in "${this.#bucket.description}": the listing does not come to an end`,
        );
      KeyMarker = next;
      VersionIdMarker = NextVersionIdMarker;
    }
  }

  /** Undefined where this credential may not see versions, or the server has none. */
  async #ask(
    command: ListObjectVersionsCommand,
    prefix: string,
    signal?: AbortSignal,
  ): Promise<ListObjectVersionsCommandOutput | undefined> {
    const isRefused = (error: unknown): boolean => refusals.has(failureName(error));
    const doing = `list the versions of "${prefix}"`;
    try {
      return await this.#bucket.sendPatiently(doing, command, signal, isRefused);
    } catch (error) {
      if (!isRefused(error)) throw error;
      // Asked for one object it is because something is wrong with it; else there is no need to nag.
      if (!this.#wasRefused && !prefix.endsWith('/'))
        this.#notify(
          `Cannot look for older versions in "${this.#bucket.description}": ${failureName(error)} (the right to do so is s3:ListBucketVersions)`,
        );
      this.#wasRefused ||= !prefix.endsWith('/');
      return undefined;
    }
  }

  *#named(entries: readonly (ListedVersion | DeleteMarkerEntry)[], isMarker: boolean): Generator<Listed> {
    for (const entry of entries) {
      const name = this.#bucket.nameOf(entry.Key);
      const { VersionId: id, LastModified: receivedAt, IsLatest: isLatest = false } = entry;
      const sizeBytes = 'Size' in entry ? (entry.Size ?? 0) : 0;
      if (name !== undefined && id !== undefined)
        yield { name, id, sizeBytes, receivedAt, isLatest, isMarker };
    }
  }
}

function newestFirst(a: Listed, b: Listed): number {
  if (a.isLatest !== b.isLatest) return a.isLatest ? -1 : 1;
  return (b.receivedAt?.getTime() ?? 0) - (a.receivedAt?.getTime() ?? 0);
}

/** Versions of one name, given from the newest to the oldest; removals are no versions. */
function* inOrder(group: readonly Listed[]): Generator<ObjectVersion> {
  const [current] = group;
  for (let index = group.length - 1; index >= 0; index--) {
    const { name, id, sizeBytes, receivedAt, isMarker, isLatest } = group[index]!;
    if (isMarker) continue;
    const isGone = current!.isMarker;
    const superseded = isLatest
      ? undefined
      : ({
          by: isGone ? 'removal' : 'another version',
          at: isGone ? current!.receivedAt : group[index - 1]?.receivedAt,
        } as const);
    yield { name, id, sizeBytes, receivedAt, superseded };
  }
}
