import { systemCalls } from './system-calls.ts';

/** An open directory of the target. */
export interface OpenDirectory {
  readonly fd: number;
  /** Path below the root as a latin1 string; '' for the root itself. */
  readonly path: string;
  readonly gid: number;
  /** New objects get an ACL that nobody asked for. */
  readonly givesAcl: boolean;
}

/** The directories used last, open. The least recently used one is closed when there are too many. */
export class DirectoryCache {
  readonly #open = new Map<string, OpenDirectory>();
  readonly #capacity: number;
  #last: OpenDirectory | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(path: string): OpenDirectory | undefined {
    if (this.#last?.path === path) return this.#last;
    const found = this.#open.get(path);
    if (found) this.#renew(found);
    return found;
  }

  add(directory: OpenDirectory): void {
    this.#renew(directory);
    if (this.#open.size <= this.#capacity) return;
    const oldest = this.#open.values().next().value!;
    this.#open.delete(oldest.path);
    systemCalls().close(oldest.fd);
  }

  remove(path: string): void {
    const found = this.#open.get(path);
    if (!found) return;
    this.#open.delete(path);
    if (this.#last === found) this.#last = undefined;
    systemCalls().close(found.fd);
  }

  /** Closes a directory and all below it, whose paths may soon mean something else. */
  removeBelow(path: string): void {
    for (const known of this.#open.keys())
      if (known === path || known.startsWith(`${path}/`)) this.remove(known);
  }

  clear(): void {
    for (const path of this.#open.keys()) this.remove(path);
  }

  #renew(directory: OpenDirectory): void {
    this.#open.delete(directory.path);
    this.#open.set(directory.path, directory);
    this.#last = directory;
  }
}
