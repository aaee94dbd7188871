import { toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { systemSleep } from '../../clock/sleep.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix, checkObjectName, isObjectName } from '../object-name.ts';
import { Backoff, type RetrySettings } from '../retry/backoff.ts';
import { stagedParts, type StagedObject, type StageSpec } from '../staged-object.ts';
import {
  largestObjectBytes,
  type ByteRange,
  type CreateResult,
  type ObjectStat,
  type Storage,
  type StorageCapabilities,
} from '../storage.ts';
import { abortable } from '../abortable.ts';
import { Budget } from './budget.ts';
import { explainFailure, isStatus } from './explain-failure.ts';
import { fromFlatName, toFlatName } from './flat-name.ts';
import { flatObjects, isFolder, isRegular, mergeByName, statOf } from './found-objects.ts';
import type { SessionSource } from './sftp-connection.ts';
import { OpenFlag, SftpProtocolError, StatusCode, type FileAttributes } from './sftp-packet.ts';
import { SftpStatusError, type FolderEntry, type Handle, type SftpSession } from './sftp-session.ts';
import { uploadFile, waitAfterLoss } from './sftp-upload.ts';

const incomingFolder = '.incoming';
const hardlinkExtension = 'hardlink@openssh.com';
const fsyncExtension = 'fsync@openssh.com';
/** Objects that are read or written at a time: OpenSSH allows some hundred open files to a connection. */
const objectsUnderWay = 64;
/** Folders that a listing reads ahead. */
const foldersAhead = 16;
const mostOpenFolders = 8;
const fullDiskBytes = 1024 * 1024;
const windingUpMs = 500;

export interface SftpPlace {
  /** For messages: the URL. */
  readonly description: string;
  /** The folder, as SFTP is to be given it: absolute, or relative to where a login starts; '' for just there. */
  readonly folder: string;
}

/**
 * Objects as files below a folder of an SFTP server, laid out as LocalStorage does. An object is uploaded to a file of its
 * own in `.incoming`, brought to the server's disk, and then linked to its name, which fails if the name is taken. Where
 * the server has no hard links it is renamed, after a look whether the name is free.
 *
 * **Add-only accounts**, which can delete nothing, are recognised (`capabilities.remove` is false). There
 * - files are created without permission to write, so that no later login can open them for writing;
 * - what is in `.incoming` stays: a second name of an object, or a part of one that never came to be;
 * - an object whose folder cannot be made is stored under its flat name (flat-name.ts).
 * Objects under flat names are found in every account, so that a restorer sees what the add-only account has stored.
 *
 * A lost connection is opened again by the next request. Uploads go on where they were if `resume` is given; all else
 * that a lost connection breaks is a TransientError.
 */
export class SftpStorage implements Storage {
  readonly description: string;
  readonly capabilities: StorageCapabilities;
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly #folder: string;
  readonly #connection: SessionSource;
  readonly #resume: RetrySettings | undefined;
  readonly #objects: Budget;
  /** Folders, relative to the repository's, that exist or are being made. */
  readonly #made = new Map<string, Promise<void>>();
  readonly #unsettled = new Set<string>();
  /** Folders of the newest uploads, opened so that `settle` costs one round trip. */
  readonly #openFolders = new Map<string, OpenFolder>();
  readonly #uploads = new Set<Promise<unknown>>();

  private constructor(
    { description, folder }: SftpPlace,
    connection: SessionSource,
    resume: RetrySettings | undefined,
    capabilities: StorageCapabilities,
    objects: number,
  ) {
    this.description = description;
    this.#folder = folder;
    this.#connection = connection;
    this.#resume = resume;
    this.capabilities = capabilities;
    this.#objects = new Budget(objects);
  }

  /** Connects, and finds out what the account may do. @throws failed if there is no connection */
  static async open(
    place: SftpPlace,
    connection: SessionSource,
    resume?: RetrySettings,
  ): Promise<SftpStorage> {
    try {
      const session = await connection.session();
      const absent = join(place.folder, incomingFolder, randomName());
      const [canRemove, links] = await Promise.all([mayRemove(session, absent), canLink(session, absent)]);
      const capabilities = { exclusiveCreate: links, remove: canRemove };
      const objects = Math.max(1, Math.min(objectsUnderWay, Math.floor(session.limits.openHandles / 2)));
      return new SftpStorage(place, connection, resume, capabilities, objects);
    } catch (cause) {
      await connection.close();
      throw explainFailure(cause, `Cannot connect to "${place.description}"`);
    }
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    return await this.#create(name, each(body), false, signal);
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    return await this.#create(name, body, true, signal);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.create(staged.name, stagedParts(staged), signal);
  }

  /** Brings the folders of new names to the disk too, where the server can. */
  async settle(signal?: AbortSignal): Promise<void> {
    const folders = [...this.#unsettled];
    // Before they are synced: what another call adds while that goes on may come too late for it.
    this.#unsettled.clear();
    try {
      await this.#naming('settle', '', signal, async (session) => {
        if (!session.offers(fsyncExtension)) return;
        await Promise.all(folders.map(async (folder) => await this.#syncFolder(session, folder)));
      });
    } catch (error) {
      for (const folder of folders) this.#unsettled.add(folder);
      throw error;
    }
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkObjectName(name);
    return await this.#naming('read', name, signal, async (session) => {
      await this.#objects.take(1);
      try {
        const file = await this.#openObject(session, name);
        if (!file) return undefined;
        try {
          return await this.#readFile(session, file, name, range);
        } finally {
          session.closeHandle(file.handle).catch(() => {});
        }
      } finally {
        this.#objects.give(1);
      }
    });
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    checkObjectName(name);
    return await this.#naming('look at', name, signal, async (session) => {
      const found = await this.#locate(session, name);
      return found && statOf(name, found.attributes);
    });
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    signal?.throwIfAborted();
    const top = this.#readFolder('', signal);
    top.catch(() => {});
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const nested = this.#listFolder(folder, prefix, signal, folder === '' ? top : undefined);
    yield* mergeByName(nested, flatObjects(await top, prefix));
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    checkObjectName(name);
    return await this.#naming('remove', name, signal, async (session) => {
      if (!this.capabilities.remove)
        throw new SalvageError(
          'failed',
          `Cannot remove "${name}" from "${this.description}": this account may only add`,
          { hint: 'Use an account that may delete: it belongs to the keeper, not to the host.' },
        );
      const flat = toFlatName(name);
      const paths = flat === undefined ? [name] : [name, flat];
      const removed = await Promise.all(paths.map(async (path) => await this.#removeFile(session, path)));
      return removed.includes(true) ? 'removed' : 'absent';
    });
  }

  async close(): Promise<void> {
    // Uploads that were stopped a moment ago clear up behind them.
    const abandoned = new AbortController();
    await Promise.race([
      Promise.allSettled(this.#uploads),
      systemSleep(windingUpMs, abandoned.signal).catch(() => {}),
    ]);
    abandoned.abort();
    await this.#connection.close();
  }

  async removeUnfinished(untouchedMs: number, signal?: AbortSignal): Promise<number> {
    if (!this.capabilities.remove) return 0;
    return await this.#naming('clear up', incomingFolder, signal, async (session) => {
      const entries = (await session.readFolder(this.#path(incomingFolder))) ?? [];
      const uploads = entries.filter(
        ({ name, attributes }) => isRegular(attributes) && /^[0-9a-f]{32}$/.test(name),
      );
      if (uploads.length === 0) return 0;
      const newestMs = (await this.#serverNow(session)) - untouchedMs;
      let removed = 0;
      for (const { name, attributes } of uploads) {
        signal?.throwIfAborted();
        if (attributes.mtime === undefined || attributes.mtime * 1000 >= newestMs) continue;
        if (await this.#removeFile(session, `${incomingFolder}/${name}`)) removed++;
      }
      return removed;
    });
  }

  async #create(
    name: string,
    body: AsyncIterable<Uint8Array>,
    mustCopy: boolean,
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    checkObjectName(name);
    return await this.#naming('store', name, signal, async (session) => {
      const upload = this.#upload(session, name, body, mustCopy, signal);
      this.#uploads.add(upload);
      try {
        return await upload;
      } finally {
        this.#uploads.delete(upload);
      }
    });
  }

  async #upload(
    first: SftpSession,
    name: string,
    body: AsyncIterable<Uint8Array>,
    mustCopy: boolean,
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    await this.#objects.take(1);
    const upload = `${incomingFolder}/${randomName()}`;
    try {
      signal?.throwIfAborted();
      // While the bytes travel. What goes wrong here is met again, and told, when the object is published.
      void this.#prepareFolder(first, folderOf(name)).catch(() => {});
      const sizeBytes = await uploadFile(body, {
        session: () => this.#connection.session(),
        path: this.#path(upload),
        mode: this.#fileMode,
        create: (session, mayExist) => this.#createIfAbsent(session, upload, name, mayExist),
        resume: this.capabilities.remove ? this.#resume : undefined,
        mustCopy,
        signal,
      });
      const result = await this.#publishPatiently({ file: upload, sizeBytes }, name, signal);
      void this.#discard(upload);
      return result;
    } catch (error) {
      const known = await this.#knowFullDisk(error);
      await this.#discard(upload);
      if (error === alreadyThere) return 'exists';
      throw known;
    } finally {
      this.#objects.give(1);
    }
  }

  /** In an add-only account a file that its owner could write to would be open to every later login. */
  get #fileMode(): number {
    return this.capabilities.remove ? 0o600 : 0o440;
  }

  /** Looks whether the object is there in the same round trip. @throws alreadyThere */
  async #createIfAbsent(
    session: SftpSession,
    upload: string,
    name: string,
    mayExist: boolean,
  ): Promise<Handle> {
    const [existing, opened] = await Promise.allSettled([
      this.#locate(session, name),
      this.#createUpload(session, upload, mayExist),
    ]);
    if (opened.status === 'rejected') throw opened.reason;
    if (existing.status === 'fulfilled' && !existing.value) return opened.value;
    session.closeHandle(opened.value).catch(() => {});
    if (existing.status === 'rejected') throw existing.reason;
    throw alreadyThere;
  }

  async #createUpload(session: SftpSession, upload: string, mayExist = false): Promise<Handle> {
    // The name is random: what has it after a lost answer is ours.
    const flags = OpenFlag.write | OpenFlag.create | (mayExist ? 0 : OpenFlag.exclusive);
    const open = async (): Promise<Handle> => await session.open(this.#path(upload), flags, this.#fileMode);
    try {
      return await open();
    } catch (error) {
      if (!isStatus(error, StatusCode.noSuchFile)) throw error;
    }
    this.#made.delete(incomingFolder);
    await this.#makeFolder(session, incomingFolder);
    try {
      return await open();
    } catch (error) {
      if (!isStatus(error, StatusCode.noSuchFile)) throw error;
      const folder = this.#path(incomingFolder);
      throw new SalvageError(
        'failed',
        `Cannot store anything in "${this.description}": the folder "${folder}" is not there, and this account cannot make it`,
        {
          hint: `Let the administrator of the server run, where logins of this account start: install -d -o ACCOUNT -m 750 "${folder}"`,
          cause: error,
        },
      );
    }
  }

  /** Gives the finished upload its name, over a new connection if need be. */
  async #publishPatiently(
    upload: FinishedUpload,
    name: string,
    signal: AbortSignal | undefined,
  ): Promise<CreateResult> {
    const backoff = this.#resume && new Backoff(this.#resume);
    let loss: unknown;
    for (;;)
      try {
        const session = await this.#connection.session();
        if (loss === undefined) return await this.#publish(session, upload, name);
        // Whether an object that is there now is this one, whoever has asked for it can find out (RetryingStorage). What was
        // asked over the lost connection may also be done only now.
        if (await this.#locate(session, name)) throw loss;
        const result = await this.#publish(session, upload, name).catch(
          async (error: unknown): Promise<CreateResult> => {
            if (error instanceof SftpStatusError && (await this.#locate(session, name))) return 'exists';
            throw error;
          },
        );
        if (result === 'exists') throw loss;
        return result;
      } catch (error) {
        if (!backoff || error === loss) throw error;
        loss = error;
        await waitAfterLoss(backoff, error, signal);
      }
  }

  async #publish(session: SftpSession, upload: FinishedUpload, name: string): Promise<CreateResult> {
    const folder = folderOf(name);
    await this.#makeFolder(session, folder);
    try {
      return await this.#link(session, upload, name);
    } catch (error) {
      if (!isStatus(error, StatusCode.noSuchFile, StatusCode.permissionDenied)) throw error;
      const flat = toFlatName(name);
      if (!this.capabilities.remove && flat !== undefined) return await this.#link(session, upload, flat);
      if (folder === '' || !isStatus(error, StatusCode.noSuchFile)) throw error;
      // Somebody has removed the folder since it was made.
      this.#made.delete(folder);
      this.#forgetFolder(folder);
      await this.#makeFolder(session, folder);
      return await this.#link(session, upload, name);
    }
  }

  async #link(session: SftpSession, upload: FinishedUpload, file: string): Promise<CreateResult> {
    const from = this.#path(upload.file);
    const to = this.#path(file);
    if (this.capabilities.exclusiveCreate) {
      const { refusal, existing } = await nameAndLook(
        session.extended(hardlinkExtension, from, to),
        session,
        to,
      );
      if (!refusal) return this.#created(existing, upload, file);
      if (existing && isRegular(existing)) return 'exists';
      // The general failure is what a file system without hard links gives; a folder that is missing is told as such.
      if (existing || !this.capabilities.remove || isStatus(refusal, StatusCode.noSuchFile)) throw refusal;
    }
    if (await session.lstat(to)) return 'exists';
    const { refusal, existing } = await nameAndLook(session.rename(from, to), session, to);
    if (!refusal) return this.#created(existing, upload, file);
    // Of servers that do not replace, OpenSSH among them, the loser of a race learns no more than that it failed.
    if (existing && isStatus(refusal, StatusCode.failure)) return 'exists';
    throw refusal;
  }

  /** The upload is about to lose its other name: some servers say that all is done and have done nothing. */
  #created(found: FileAttributes | undefined, { sizeBytes }: FinishedUpload, file: string): CreateResult {
    if (!found || !isRegular(found) || found.sizeBytes !== sizeBytes)
      throw new SftpProtocolError('what it has stored is not there, or not whole');
    this.#unsettled.add(folderOf(file));
    return 'created';
  }

  /** Makes the folder, and opens it anew for `settle`. */
  async #prepareFolder(session: SftpSession, folder: string): Promise<void> {
    await this.#makeFolder(session, folder);
    if (!session.offers(fsyncExtension)) return;
    this.#forgetFolder(folder);
    const handle = session.open(this.#path(folder), OpenFlag.read);
    handle.catch(() => {});
    this.#openFolders.set(folder, { session, handle });
    const [oldest] = this.#openFolders.keys();
    if (this.#openFolders.size > mostOpenFolders) this.#forgetFolder(oldest!);
  }

  #forgetFolder(folder: string): void {
    const open = this.#openFolders.get(folder);
    if (!open) return;
    this.#openFolders.delete(folder);
    open.handle.then(async (handle) => await open.session.closeHandle(handle)).catch(() => {});
  }

  /** Makes a folder and those above it, once. An account that must not is found out when something is put there. */
  async #makeFolder(session: SftpSession, folder: string): Promise<void> {
    let making = this.#made.get(folder);
    if (!making) {
      making = this.#makeFolders(session, folder);
      this.#made.set(folder, making);
      making.catch(() => this.#made.delete(folder));
    }
    await making;
  }

  async #makeFolders(session: SftpSession, folder: string): Promise<void> {
    if (folder === '' || (await this.#makeChain(session, this.#folder, folder))) return;
    await this.#makeChain(session, this.#folder.startsWith('/') ? '/' : '', this.#folder.replace(/^\//, ''));
    await this.#makeChain(session, this.#folder, folder);
  }

  /** Makes `folder`, part by part, below `base`. False if `base` does not exist. */
  async #makeChain(session: SftpSession, base: string, folder: string): Promise<boolean> {
    const parts = folder.split('/').filter((part) => part !== '');
    const mode = this.capabilities.remove ? 0o700 : 0o750;
    const results = await Promise.allSettled(
      parts.map(async (_, index) => {
        const path = parts.slice(0, index + 1).join('/');
        await session.makeFolder(join(base, path), mode);
        if (base === this.#folder) this.#unsettled.add(folderOf(path));
      }),
    );
    for (const result of results)
      if (result.status === 'rejected' && !(result.reason instanceof SftpStatusError)) throw result.reason;
    const [first] = results;
    return !(first?.status === 'rejected' && isStatus(first.reason, StatusCode.noSuchFile));
  }

  /** Looks under the name and under the flat name, in one round trip. */
  async #locate(
    session: SftpSession,
    name: string,
  ): Promise<{ readonly path: string; readonly attributes: FileAttributes } | undefined> {
    const flat = toFlatName(name);
    // Once more under the name: an administrator may be moving the object there.
    const files = flat === undefined ? [name] : [name, flat, name];
    const found = await Promise.all(files.map(async (file) => await session.lstat(this.#path(file))));
    for (const [index, attributes] of found.entries())
      if (attributes && isRegular(attributes)) return { path: this.#path(files[index]!), attributes };
    return undefined;
  }

  async #openObject(session: SftpSession, name: string): Promise<OpenObject | undefined> {
    const path = this.#path(name);
    const [attributes, opened] = await Promise.allSettled([
      session.lstat(path),
      session.open(path, OpenFlag.read),
    ]);
    const close = (): void => {
      if (opened.status === 'fulfilled') session.closeHandle(opened.value).catch(() => {});
    };
    if (attributes.status === 'rejected') {
      close();
      throw attributes.reason;
    }
    if (attributes.value && isRegular(attributes.value)) {
      if (opened.status === 'rejected') throw opened.reason;
      return { handle: opened.value, attributes: attributes.value };
    }
    close();
    const elsewhere = await this.#locate(session, name);
    return (
      elsewhere && {
        handle: await session.open(elsewhere.path, OpenFlag.read),
        attributes: elsewhere.attributes,
      }
    );
  }

  async #readFile(
    session: SftpSession,
    { handle, attributes }: OpenObject,
    name: string,
    range: ByteRange | undefined,
  ): Promise<Uint8Array> {
    const size = attributes.sizeBytes ?? 0;
    if (!range && size > largestObjectBytes)
      throw new SftpProtocolError(`it says that "${name}" has ${size} bytes, more than are read at once`);
    const offset = Math.min(range?.offset ?? 0, size);
    const bytes = new Uint8Array(Math.min(range?.length ?? size, size - offset));
    const { readBytes } = session.limits;
    const starts = Array.from(
      { length: Math.ceil(bytes.length / readBytes) },
      (_, index) => index * readBytes,
    );
    const filled = await Promise.all(
      starts.map(async (start) => {
        const part = bytes.subarray(start, start + readBytes);
        let at = 0;
        while (at < part.length) {
          const received = await session.read(handle, offset + start + at, part.length - at);
          if (!received) break;
          part.set(received, at);
          at += received.length;
        }
        return at;
      }),
    );
    const short = filled.findIndex(
      (count, index) => count < Math.min(readBytes, bytes.length - starts[index]!),
    );
    return short < 0 ? bytes : bytes.slice(0, starts[short]! + filled[short]!);
  }

  async *#listFolder(
    folder: string,
    prefix: string,
    signal: AbortSignal | undefined,
    reading: Promise<readonly FolderEntry[]> = this.#readFolder(folder, signal),
  ): AsyncGenerator<ObjectStat> {
    // With its slash a folder's name sorts as the names of the objects in it do.
    const entries = (await reading)
      .map(({ name, attributes }) => ({
        name: folder + name + (isFolder(attributes) ? '/' : ''),
        attributes,
      }))
      .filter(
        ({ name, attributes }) =>
          (isFolder(attributes)
            ? name.startsWith(prefix) || prefix.startsWith(name)
            : isRegular(attributes) && name.startsWith(prefix)) && isObjectName(name.replace(/\/$/, '')),
      )
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const folders = entries.filter(({ name }) => name.endsWith('/')).map(({ name }) => name);
    const ahead = new Map<string, Promise<FolderEntry[]>>();
    let next = 0;
    for (const { name, attributes } of entries) {
      if (!name.endsWith('/')) {
        yield statOf(name, attributes);
        continue;
      }
      for (; next < folders.length && ahead.size < foldersAhead; next++) {
        const read = this.#readFolder(folders[next]!, signal);
        read.catch(() => {});
        ahead.set(folders[next]!, read);
      }
      yield* this.#listFolder(name, prefix, signal, ahead.get(name));
      ahead.delete(name);
    }
  }

  async #readFolder(folder: string, signal: AbortSignal | undefined): Promise<FolderEntry[]> {
    return await this.#naming('list', folder, signal, async (session) => {
      await this.#objects.take(1);
      try {
        const entries = (await session.readFolder(this.#path(folder.replace(/\/$/, '')))) ?? [];
        const wanted = entries.filter(
          ({ name }) => !name.includes('/') && (isObjectName(name) || fromFlatName(name) !== undefined),
        );
        // Version 3 lets a server leave attributes out.
        return await Promise.all(
          wanted.map(async ({ name, attributes }) => {
            if (attributes.mode !== undefined && attributes.sizeBytes !== undefined)
              return { name, attributes };
            return { name, attributes: (await session.lstat(this.#path(folder + name))) ?? attributes };
          }),
        );
      } finally {
        this.#objects.give(1);
      }
    });
  }

  /** By the clock that gives files their times. */
  async #serverNow(session: SftpSession): Promise<number> {
    const probe = `${incomingFolder}/${randomName()}`;
    const handle = await this.#createUpload(session, probe);
    try {
      return ((await session.lstat(this.#path(probe)))?.mtime ?? 0) * 1000;
    } finally {
      session.closeHandle(handle).catch(() => {});
      await this.#discard(probe);
    }
  }

  /** False if there is no such file. */
  async #removeFile(session: SftpSession, file: string): Promise<boolean> {
    try {
      await session.remove(this.#path(file));
    } catch (error) {
      if (isStatus(error, StatusCode.noSuchFile)) return false;
      throw error;
    }
    this.#unsettled.add(folderOf(file));
    return true;
  }

  async #syncFolder(session: SftpSession, folder: string): Promise<void> {
    await this.#objects.take(1);
    try {
      if (await this.#syncOpenFolder(session, folder)) return;
      const handle = await session.open(this.#path(folder), OpenFlag.read);
      try {
        await session.extended(fsyncExtension, handle);
      } finally {
        session.closeHandle(handle).catch(() => {});
      }
    } catch (error) {
      // Not every server opens folders; then its own file system must do.
      if (!(error instanceof SftpStatusError)) throw error;
    } finally {
      this.#objects.give(1);
    }
  }

  /** False if the folder is not open, or no longer. */
  async #syncOpenFolder(session: SftpSession, folder: string): Promise<boolean> {
    const open = this.#openFolders.get(folder);
    if (open?.session !== session) return false;
    try {
      await session.extended(fsyncExtension, await open.handle);
      return true;
    } catch (error) {
      if (error instanceof SftpStatusError) return false;
      throw error;
    }
  }

  /** Does not connect anew for it: removeUnfinished clears what is left. */
  async #discard(upload: string): Promise<void> {
    if (!this.capabilities.remove) return;
    // Absent if it was renamed.
    await this.#connection.openSession?.remove(this.#path(upload)).catch(() => {});
  }

  /** A full disk is told by the same number as any other failure. */
  async #knowFullDisk(error: unknown): Promise<unknown> {
    if (!isStatus(error, StatusCode.failure)) return error;
    try {
      const session = await this.#connection.session();
      const free = await session.freeBytes(this.#folder === '' ? '.' : this.#folder);
      if (free !== undefined && free < fullDiskBytes)
        return new SftpStatusError(StatusCode.failure, 'the disk of the server is full');
    } catch {
      // The first error says what there is to say.
    }
    return error;
  }

  #path(file: string): string {
    return file === '' ? this.#folder || '.' : join(this.#folder, file);
  }

  async #naming<T>(
    what: string,
    name: string,
    signal: AbortSignal | undefined,
    work: (session: SftpSession) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await abortable(
        this.#connection.session().then(async (session) => await work(session)),
        signal,
      );
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw explainFailure(cause, `Cannot ${what} "${name}" in "${this.description}"`);
    }
  }
}

interface FinishedUpload {
  /** Below the repository's folder. */
  readonly file: string;
  readonly sizeBytes: number;
}

interface OpenFolder {
  readonly session: SftpSession;
  readonly handle: Promise<Handle>;
}

interface OpenObject {
  readonly handle: Handle;
  readonly attributes: FileAttributes;
}

/** Spares the upload of an object that exists. */
const alreadyThere = new Error('the object is there');

/** Waits for a request that gives a file the name `path`, and looks what is there then, in the same round trip. */
async function nameAndLook(
  request: Promise<void>,
  session: SftpSession,
  path: string,
): Promise<{ readonly refusal?: SftpStatusError; readonly existing: FileAttributes | undefined }> {
  const [done, existing] = await Promise.allSettled([request, session.lstat(path)]);
  if (existing.status === 'rejected') throw existing.reason;
  if (done.status === 'fulfilled') return { existing: existing.value };
  if (!(done.reason instanceof SftpStatusError)) throw done.reason;
  return { refusal: done.reason, existing: existing.value };
}

/** False also for a server that offers hard links and says of any that it is made (rclone serve sftp does). */
async function canLink(session: SftpSession, absentPath: string): Promise<boolean> {
  if (!session.offers(hardlinkExtension)) return false;
  try {
    await session.extended(hardlinkExtension, absentPath, `${absentPath}-link`);
    return false;
  } catch (error) {
    if (error instanceof SftpStatusError) return true;
    throw error;
  }
}

/** Removing what is not there: refused by an account that may not remove, and else answered by "no such file". */
async function mayRemove(session: SftpSession, absentPath: string): Promise<boolean> {
  try {
    await session.remove(absentPath);
    return true;
  } catch (error) {
    if (isStatus(error, StatusCode.permissionDenied, StatusCode.unsupported)) return false;
    if (error instanceof SftpStatusError) return true;
    throw error;
  }
}

async function* each(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    yield part;
    await Promise.resolve();
  }
}

function folderOf(file: string): string {
  return file.slice(0, Math.max(0, file.lastIndexOf('/')));
}

function join(...parts: string[]): string {
  const path = parts.filter((part) => part !== '').join('/');
  return path.replace(/\/{2,}/g, '/');
}

function randomName(): string {
  return toHex(randomBytes(16));
}
