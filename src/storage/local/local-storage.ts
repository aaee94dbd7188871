import { constants, type Dirent } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix, checkObjectName, isObjectName } from '../object-name.ts';
import type { StagedObject, StageSpec } from '../staged-object.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage, StorageCapabilities } from '../storage.ts';
import { writeAllParts } from '../write-all-parts.ts';

/** Unfinished uploads; no object name begins with a dot. */
const incomingFolder = '.incoming';

/**
 * Objects as files below a folder. An object is written to a file of its own in `.incoming`, synced, and then linked to
 * its name, which fails if the name is taken: so it is whole or absent, also after a power cut. The folders that hold
 * the new names are synced by `settle`, once for all objects since the last one.
 *
 * Files are created 0600 and folders 0700, less what the umask takes away.
 */
export class LocalStorage implements Storage {
  readonly description: string;
  readonly capabilities: StorageCapabilities = { exclusiveCreate: true, remove: true };
  readonly stageSpec: StageSpec;
  readonly objectsFolder: string;
  readonly #root: string;
  readonly #incoming: string;
  readonly #unsettled = new Set<string>();

  /** `root` need not exist: it is made by the first `create`. */
  constructor(root: string) {
    this.#root = resolve(root);
    this.#incoming = join(this.#root, incomingFolder);
    this.description = this.#root;
    this.objectsFolder = this.#root;
    this.stageSpec = { kind: 'folder', folder: this.#incoming };
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    return await this.#create(name, (file) => writeAllParts(file, body, signal), signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const write = async (file: FileHandle): Promise<void> => {
      for await (const part of body) await writeAllParts(file, [part], signal);
    };
    return await this.#create(name, write, signal);
  }

  async #create(
    name: string,
    write: (file: FileHandle) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    checkObjectName(name);
    signal?.throwIfAborted();
    return await this.#naming(
      'store',
      name,
      async () => {
        const path = join(this.#incoming, toHex(randomBytes(16)));
        await mkdir(this.#incoming, { recursive: true, mode: 0o700 });
        const file = await open(path, 'wx', 0o600);
        try {
          await write(file);
          await file.datasync();
          await file.close();
          signal?.throwIfAborted();
          return await this.#publish(path, name);
        } finally {
          await file.close();
          await unlink(path).catch(ignoreAbsence);
        }
      },
      signal,
    );
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    const { name, content } = staged;
    if (content.kind === 'parts') return await this.create(name, content.parts, signal);
    checkObjectName(name);
    if (dirname(content.path) !== this.#incoming)
      throw new SalvageError('failed', `Cannot store "${name}": it was staged for another storage`);
    return await this.#naming(
      'store',
      name,
      async () => {
        try {
          signal?.throwIfAborted();
          // Syncing is what takes time, and it happens in libuv's threads: the worker is long busy with the next pack.
          const file = await open(content.path, 'r+');
          try {
            const { size } = await file.stat();
            if (size !== staged.sizeBytes)
              throw new Error(`${size} of its ${staged.sizeBytes} bytes were staged`);
            await file.datasync();
          } finally {
            await file.close();
          }
          signal?.throwIfAborted();
          return await this.#publish(content.path, name);
        } finally {
          await unlink(content.path).catch(ignoreAbsence);
        }
      },
      signal,
    );
  }

  async settle(signal?: AbortSignal): Promise<void> {
    const folders = [...this.#unsettled];
    for (const folder of folders) {
      signal?.throwIfAborted();
      // Before it is synced: what another call adds while that goes on may come too late for it.
      this.#unsettled.delete(folder);
      try {
        await this.#naming('settle', folder, () => syncFolder(folder));
      } catch (error) {
        this.#unsettled.add(folder);
        throw error;
      }
    }
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkObjectName(name);
    signal?.throwIfAborted();
    return await this.#naming(
      'read',
      name,
      async () => {
        const file = await openObject(join(this.#root, name));
        if (!file) return undefined;
        try {
          const { size } = await file.stat();
          const offset = Math.min(range?.offset ?? 0, size);
          const bytes = new Uint8Array(Math.min(range?.length ?? size, size - offset));
          let filled = 0;
          while (filled < bytes.length) {
            signal?.throwIfAborted();
            const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, offset + filled);
            if (bytesRead === 0) break;
            filled += bytesRead;
          }
          return filled === bytes.length ? bytes : bytes.slice(0, filled);
        } finally {
          await file.close();
        }
      },
      signal,
    );
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    checkObjectName(name);
    signal?.throwIfAborted();
    return await this.#naming('look at', name, () => this.#stat(name));
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    yield* this.#listFolder(folder, prefix, signal);
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    checkObjectName(name);
    signal?.throwIfAborted();
    return await this.#naming('remove', name, async () => {
      try {
        await unlink(join(this.#root, name));
      } catch (error) {
        if (isAbsence(error)) return 'absent';
        throw error;
      }
      this.#unsettled.add(join(this.#root, dirname(name)));
      return 'removed';
    });
  }

  async close(): Promise<void> {}

  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    return await this.#naming(
      'clear up',
      incomingFolder,
      async () => {
        const entries = await readFolder(this.#incoming);
        if (entries.length === 0) return 0;
        const newestMs = (await this.#now()) - untouchedMs;
        let removed = 0;
        for (const entry of entries) {
          signal?.throwIfAborted();
          const path = join(this.#incoming, entry.name);
          const stat = await lstat(path).catch(ignoreAbsence);
          if (!stat?.isFile() || stat.mtimeMs >= newestMs) continue;
          await unlink(path).catch(ignoreAbsence);
          removed++;
        }
        await rmdir(this.#incoming).catch(() => undefined);
        return removed;
      },
      signal,
    );
  }

  /** By the clock of the file system, which may be another machine's, and which a jump of ours does not move. */
  async #now(): Promise<number> {
    const path = join(this.#incoming, toHex(randomBytes(16)));
    const file = await open(path, 'wx', 0o600);
    try {
      return (await file.stat()).mtimeMs;
    } finally {
      await file.close();
      await unlink(path).catch(ignoreAbsence);
    }
  }

  async #publish(path: string, name: string): Promise<CreateResult> {
    const target = join(this.#root, name);
    const folder = dirname(target);
    try {
      if (!(await linkIfAbsent(path, target))) return 'exists';
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      await this.#makeFolder(folder);
      if (!(await linkIfAbsent(path, target))) return 'exists';
    }
    this.#unsettled.add(folder);
    return 'created';
  }

  /** A new folder's name is in its parent, which has to be synced too. */
  async #makeFolder(folder: string): Promise<void> {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 });
    if (first === undefined) return;
    for (let made = folder; made.length >= first.length; made = dirname(made))
      this.#unsettled.add(dirname(made));
  }

  async *#listFolder(folder: string, prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    signal?.throwIfAborted();
    const entries = await this.#naming('list', folder, () => readFolder(join(this.#root, folder)));
    // With its slash a folder's name sorts as the names of the objects in it do.
    const names = entries
      .filter((entry) => entry.isDirectory() || entry.isFile())
      .map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''))
      .sort((a, b) => (a < b ? -1 : 1));
    for (const name of names) {
      if (!name.startsWith(prefix) && !prefix.startsWith(name)) continue;
      if (name.endsWith('/')) {
        if (isObjectName(name.slice(0, -1))) yield* this.#listFolder(name, prefix, signal);
      } else if (isObjectName(name) && name.startsWith(prefix)) {
        const stat = await this.#naming('look at', name, () => this.#stat(name));
        if (stat) yield stat;
      }
    }
  }

  async #stat(name: string): Promise<ObjectStat | undefined> {
    try {
      const stat = await lstat(join(this.#root, name));
      return stat.isFile() ? { name, sizeBytes: stat.size, receivedAt: stat.mtime } : undefined;
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }

  async #naming<T>(what: string, name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (signal?.aborted || cause instanceof SalvageError) throw cause;
      throw new SalvageError(
        'failed',
        `Cannot ${what} "${name}" in "${this.description}": ${(cause as Error).message}`,
        // A folder that fails as a whole says so object by object: a bad block is the object's alone.
        { cause, details: { object: name } },
      );
    }
  }
}

/** False if the name is taken. */
async function linkIfAbsent(path: string, target: string): Promise<boolean> {
  try {
    await link(path, target);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error;
  }
  // A file system without hard links: between the look and the rename another writer may take the name, with the same
  // content, since names are digests or random.
  if (await lstat(target).catch(ignoreAbsence)) return false;
  await rename(path, target);
  return true;
}

async function openObject(path: string): Promise<FileHandle | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    return undefined;
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

async function readFolder(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle;
  try {
    folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (isAbsence(error)) return;
    throw error;
  }
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isAbsence(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function ignoreAbsence(error: unknown): undefined {
  if (!isAbsence(error)) throw error;
  return undefined;
}
