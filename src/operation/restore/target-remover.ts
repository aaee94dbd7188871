import { SalvageError } from '../../errors/salvage-error.ts';
import { FileStatus } from '../../posix/file-status.ts';
import { NameBuffer } from '../../posix/name-buffer.ts';
import { stateOf } from '../../posix/system-call-error.ts';
import { at, errno, flag, lastError, systemCalls } from '../../posix/system-calls.ts';
import { TargetMetadata } from '../../posix/target-metadata.ts';

const rootFlags = flag.readOnly | flag.directory | flag.closeOnExec;
const belowFlags = rootFlags | flag.noFollow;

/**
 * Removes objects below a directory and nowhere else: every part of a path is opened below its parent and never through a
 * symlink. The directories from which something is removed keep their times.
 */
export class TargetRemover {
  readonly #calls = systemCalls();
  readonly #name = new NameBuffer();
  readonly #status = new FileStatus();
  readonly #metadata: TargetMetadata;
  readonly #root: string;
  #parent: { readonly path: string; readonly fd: number; readonly mtimeNs: bigint } | undefined;

  /** `root` is an absolute path. */
  constructor(root: string) {
    this.#root = Buffer.from(root).toString('latin1');
    this.#metadata = new TargetMetadata({
      owners: false,
      numericIds: true,
      keepSetIds: true,
      onProblem: () => {},
    });
  }

  /** False if it is a directory that is not empty, or is gone already. @throws failed */
  remove(path: Buffer, isDirectory: boolean): boolean {
    const text = path.toString('latin1');
    const slash = text.lastIndexOf('/');
    try {
      const fd = this.#openParent(slash < 0 ? '' : text.slice(0, slash));
      const name = this.#name.latin1(text.slice(slash + 1));
      if (this.#calls.unlinkat(fd, name, isDirectory ? at.removeDirectory : 0) === 0) return true;
      const reason = this.#calls.errno();
      if (reason === errno.ENOENT || reason === errno.ENOTEMPTY || reason === errno.EEXIST) return false;
      throw lastError('unlinkat');
    } catch (cause) {
      throw new SalvageError('failed', `Cannot delete "${path.toString()}": ${stateOf(cause)}`, { cause });
    }
  }

  close(): void {
    if (!this.#parent) return;
    this.#metadata.setTime(this.#parent.fd, this.#parent.mtimeNs);
    this.#calls.close(this.#parent.fd);
    this.#parent = undefined;
  }

  #openParent(path: string): number {
    if (this.#parent?.path === path) return this.#parent.fd;
    this.close();
    let fd = this.#open(at.currentDirectory, this.#root, rootFlags);
    for (const part of path === '' ? [] : path.split('/')) {
      const above = fd;
      try {
        fd = this.#open(above, part, belowFlags);
      } finally {
        this.#calls.close(above);
      }
    }
    this.#status.readFd(fd);
    this.#parent = { path, fd, mtimeNs: this.#status.mtimeNs };
    return fd;
  }

  #open(directory: number, name: string, flags: number): number {
    const fd = this.#calls.openat(directory, this.#name.latin1(name), flags, 0);
    if (fd < 0) throw lastError('openat');
    return fd;
  }
}
