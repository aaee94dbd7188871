import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../bytes/bytes.ts';
import type { Clock } from '../../clock/clock.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix, checkObjectName, isObjectName } from '../object-name.ts';
import { RequestSlots } from '../request-slots.ts';
import { stagedParts, type StagedObject, type StageSpec } from '../staged-object.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage, StorageCapabilities } from '../storage.ts';
import { writeAllParts } from '../write-all-parts.ts';
import { findTransient } from '../transient-error.ts';
import { RcloneClient } from './rclone-client.ts';
import { isAbsence, RcloneFailure } from './rclone-failure.ts';
import { RcloneProgram, servedRemote } from './rclone-program.ts';

export interface RcloneStorageOptions {
  /** In rclone's own notation. */
  readonly target: string;
  readonly description: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** Unfinished uploads; no object name begins with a dot. */
const incomingFolder = '.incoming';
/** An sshd of Debian's turns away the eleventh connection that is not yet through. */
const slots = 8;
/** How many folders are asked for ahead of the one that is read. */
const foldersAhead = slots - 1;

interface Entry {
  /** Ends in a slash if it is a folder. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly modified: string;
}

/**
 * Objects in any cloud that rclone knows, through one running rclone program (docs/design/decisions, "rclone").
 *
 * An object is written to a file of ours first, for rclone takes a stream that breaks off for one that is short, and
 * would store half an object for good if we died. From the file it uploads a known number of bytes and compares size and,
 * where the remote has any, a hash. Object stores (rclone's feature BucketBased) make an object of them in one step;
 * elsewhere they come under another name into `.incoming`, and are moved to their own by the server when all are there.
 *
 * rclone cannot create only if absent: it is asked before, and a racing writer may slip through. Nor does it tell when
 * storage received an object: what it calls the time of a file comes from the host that stored it.
 */
export class RcloneStorage implements Storage {
  readonly description: string;
  readonly capabilities: StorageCapabilities = { exclusiveCreate: false, remove: true };
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly #client: RcloneClient;
  readonly #clock: Clock;
  readonly #slots = new RequestSlots(slots);
  #storesInOneStep: Promise<boolean> | undefined;

  constructor({ target, description, env, clock }: RcloneStorageOptions) {
    this.description = description;
    this.#clock = clock;
    this.#client = new RcloneClient(new RcloneProgram(target, env));
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    checkObjectName(name);
    return await this.#request('store', name, signal, async () => {
      if (await this.#stat(name, signal)) return 'exists';
      const spoolFolder = await this.#client.spoolFolder();
      const spoolName = toHex(randomBytes(16));
      const path = join(spoolFolder, spoolName);
      try {
        const sizeBytes = await writeFile(path, body, signal);
        const inOneStep = await this.#isStoredInOneStep(signal);
        const remote = inOneStep ? name : `${incomingFolder}/${spoolName}`;
        const copy = { srcFs: spoolFolder, srcRemote: spoolName, dstFs: servedRemote, dstRemote: remote };
        try {
          await this.#client.callMakingFolders(
            'copyfile',
            { ...copy, _config: { IgnoreExisting: true } },
            signal,
          );
        } catch (error) {
          // Where one of two uploads wins the loser ends here. After a lost answer it may be this one that is there.
          if (inOneStep && !findTransient(error) && (await this.#isThere(name, signal))) return 'exists';
          throw error;
        }
        if (!inOneStep) return await this.#publish(remote, name, sizeBytes, signal);
        const stored = await this.#stat(name, signal);
        // Somebody else's of another size was there first.
        if (stored && stored.sizeBytes !== sizeBytes) return 'exists';
        if (!stored) throw new RcloneFailure('rclone reports success, but the object is not there', false);
        return 'created';
      } finally {
        await unlink(path).catch(() => {});
      }
    });
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    checkObjectName(name);
    return await this.#request('store', name, signal, async () => {
      if (await this.#stat(name, signal)) return 'exists';
      if (!(await this.#isStoredInOneStep(signal)))
        await this.#client.callMakingFolders('mkdir', { remote: incomingFolder }, signal);
      const incomingName = toHex(randomBytes(16));
      const remote = `${incomingFolder}/${incomingName}`;
      let sizeBytes = 0;
      async function* counted(): AsyncGenerator<Uint8Array> {
        for await (const part of body) {
          sizeBytes += part.length;
          yield part;
        }
      }
      try {
        await this.#client.uploadStream(incomingFolder, incomingName, counted(), signal);
        return await this.#publish(remote, name, sizeBytes, signal);
      } catch (error) {
        // What the cut stream has left, if it is there by now; `removeUnfinished` finds the rest.
        await this.#remove(remote).catch(() => {});
        throw error;
      }
    });
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.create(staged.name, stagedParts(staged), signal);
  }

  /** A cloud answers when an object is durable; a remote that is a disk is never told to sync by rclone. */
  async settle(signal?: AbortSignal): Promise<void> {
    await Promise.resolve();
    signal?.throwIfAborted();
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkObjectName(name);
    return await this.#request('read', name, signal, async () => {
      if (range?.length === 0) return (await this.#stat(name, signal)) && new Uint8Array(0);
      try {
        return await this.#client.download(name, range, signal);
      } catch (error) {
        if (isAbsence(error)) return undefined;
        if (!(range && error instanceof RcloneFailure)) throw error;
        // Some remotes call it an error when the object ends before the range begins.
        const stat = await this.#stat(name, signal);
        if (stat && stat.sizeBytes > range.offset) throw error;
        return stat && new Uint8Array(0);
      }
    });
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    checkObjectName(name);
    return await this.#request('look at', name, signal, () => this.#stat(name, signal));
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    signal?.throwIfAborted();
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    yield* this.#listFolder(await this.#readFolder(folder, signal), prefix, signal);
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    checkObjectName(name);
    return await this.#request('remove', name, signal, () => this.#remove(name, signal));
  }

  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    const newestMs = this.#clock.now().getTime() - untouchedMs;
    let removed = 0;
    for (const { name, modified } of await this.#readFolder(`${incomingFolder}/`, signal, true)) {
      const modifiedMs = Date.parse(modified);
      if (name.endsWith('/') || !(modifiedMs < newestMs)) continue;
      await this.#request('remove', name, signal, () => this.#remove(name, signal));
      removed++;
    }
    return removed;
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    try {
      await this.#client.call('deletefile', { remote: name }, signal);
      return 'removed';
    } catch (error) {
      if (isAbsence(error)) return 'absent';
      throw error;
    }
  }

  /** Gives an upload its name, if it is whole and nobody else has taken the name meanwhile. */
  async #publish(
    remote: string,
    name: string,
    sizeBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    const [uploaded, existing] = await Promise.all([this.#stat(remote, signal), this.#stat(name, signal)]);
    if (uploaded?.sizeBytes !== sizeBytes)
      throw new RcloneFailure(
        `${uploaded ? uploaded.sizeBytes : 'none'} of ${sizeBytes} bytes arrived at the remote`,
        false,
      );
    if (!existing) {
      const move = { srcFs: servedRemote, srcRemote: remote, dstFs: servedRemote, dstRemote: name };
      try {
        await this.#client.callMakingFolders(
          'movefile',
          { ...move, _config: { IgnoreExisting: true } },
          signal,
        );
      } catch (error) {
        // Where names cannot be taken twice the loser of a race ends here.
        if (findTransient(error) || !(await this.#isThere(name, signal))) throw error;
      }
    }
    // rclone does not say whether it has moved anything. Where nothing may be removed the upload stays as it is, out of sight.
    const left = await this.#remove(remote, signal).catch(() => 'kept');
    signal?.throwIfAborted();
    return left === 'removed' ? 'exists' : 'created';
  }

  /** Whether an upload is there whole or not at all. @throws failed if it is not, and cannot be moved either */
  async #isStoredInOneStep(signal: AbortSignal | undefined): Promise<boolean> {
    this.#storesInOneStep ??= this.#askFeatures(signal).catch((error: unknown) => {
      this.#storesInOneStep = undefined;
      throw error;
    });
    return await this.#storesInOneStep;
  }

  async #askFeatures(signal: AbortSignal | undefined): Promise<boolean> {
    const { Features } = await this.#client.remoteInfo(signal);
    const { BucketBased = false, Move = false, Copy = false } = (Features ?? {}) as Record<string, unknown>;
    if (BucketBased !== true && Move !== true && Copy !== true)
      throw new SalvageError(
        'failed',
        `Cannot store in "${this.description}": it neither renames nor copies`,
        {
          hint: 'Half an upload would look whole in such a remote; choose one of another kind.',
        },
      );
    return BucketBased === true;
  }

  async #stat(name: string, signal: AbortSignal | undefined): Promise<ObjectStat | undefined> {
    const opt = { filesOnly: true, noModTime: true, noMimeType: true };
    try {
      const { item } = await this.#client.call('stat', { remote: name, opt }, signal);
      if (item === null || item === undefined) return undefined;
      const { Size: sizeBytes, IsDir: isFolder } = item as {
        readonly Size: unknown;
        readonly IsDir: unknown;
      };
      if (isFolder !== false) return undefined;
      if (!isSize(sizeBytes)) throw new RcloneFailure('rclone does not tell its size', false);
      return { name, sizeBytes, receivedAt: undefined };
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }

  /** False also if it cannot be found out. */
  async #isThere(name: string, signal: AbortSignal | undefined): Promise<boolean> {
    return (await this.#stat(name, signal).catch(() => undefined)) !== undefined;
  }

  async *#listFolder(
    entries: readonly Entry[],
    prefix: string,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ObjectStat> {
    const wanted = entries.filter(({ name }) => name.startsWith(prefix) || prefix.startsWith(name));
    const folders = wanted.filter(({ name }) => name.endsWith('/'));
    const ahead = new Map<string, Promise<readonly Entry[]>>();
    let asked = 0;
    for (const { name, sizeBytes } of wanted) {
      if (!name.endsWith('/')) {
        if (name.startsWith(prefix)) yield { name, sizeBytes, receivedAt: undefined };
        continue;
      }
      for (; asked < folders.length && ahead.size <= foldersAhead; asked++) {
        const reading = this.#readFolder(folders[asked]!.name, signal);
        // Nobody may be waiting for it when it fails.
        reading.catch(() => {});
        ahead.set(folders[asked]!.name, reading);
      }
      const below = await ahead.get(name)!;
      ahead.delete(name);
      yield* this.#listFolder(below, prefix, signal);
    }
  }

  /** What can be an object or a folder of objects, in ascending order of the names of the objects in it. */
  async #readFolder(
    folder: string,
    signal: AbortSignal | undefined,
    unfinished = false,
  ): Promise<readonly Entry[]> {
    return await this.#request('list', folder, signal, async () => {
      const remote = folder.slice(0, -1);
      const opt = { noModTime: !unfinished, noMimeType: true };
      try {
        const { list } = await this.#client.call('list', { remote, opt }, signal);
        const entries = new Map<string, Entry>();
        for (const item of Array.isArray(list) ? (list as readonly Record<string, unknown>[]) : []) {
          const { Name: last, Size: size, IsDir: isFolder, ModTime: modified } = item;
          if (typeof last !== 'string' || last.includes('/') || typeof isFolder !== 'boolean') continue;
          const path = folder + last;
          if (!(isObjectName(path) || unfinished) || !(isFolder || isSize(size))) continue;
          const name = isFolder ? `${path}/` : path;
          entries.set(name, { name, sizeBytes: isSize(size) ? size : 0, modified: String(modified) });
        }
        return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      } catch (error) {
        if (isAbsence(error)) return [];
        throw error;
      }
    });
  }

  async #request<T>(
    what: string,
    name: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    return await this.#slots.run(async () => {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (cause) {
        if (signal?.aborted) throw signal.reason;
        if (cause instanceof SalvageError) throw cause;
        throw new SalvageError(
          'failed',
          `Cannot ${what} "${name}" in "${this.description}": ${(cause as Error).message}`,
          { cause },
        );
      }
    });
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Returns the size. */
async function writeFile(
  path: string,
  parts: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const file = await open(path, 'wx', 0o600);
  try {
    await writeAllParts(file, parts, signal);
  } finally {
    await file.close();
  }
  return parts.reduce((sum, part) => sum + part.length, 0);
}
