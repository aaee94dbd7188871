import { SalvageError } from '../../errors/salvage-error.ts';

/** Chooses members by path: those named, and everything below a directory that is named. Without names, all. */
export class MemberFilter {
  readonly #wanted = new Map<string, boolean>();

  /** Slashes at either end and `./` in front are forgiven. Throws usage on an empty name. */
  constructor(paths: readonly string[]) {
    for (const path of paths) {
      const parts = path.split('/').filter((part) => part !== '' && part !== '.');
      if (parts.length === 0)
        throw new SalvageError('usage', `Cannot look for "${path}": it names no member`);
      this.#wanted.set(Buffer.from(parts.join('/')).toString('latin1'), false);
    }
  }

  matches(path: Buffer): boolean {
    if (this.#wanted.size === 0) return true;
    const text = path.toString('latin1');
    for (let end = text.length; end > 0; end = text.lastIndexOf('/', end - 1)) {
      const part = text.slice(0, end);
      if (!this.#wanted.has(part)) continue;
      this.#wanted.set(part, true);
      return true;
    }
    return false;
  }

  /** Names that nothing matched. */
  missing(): string[] {
    return [...this.#wanted]
      .filter(([, found]) => !found)
      .map(([path]) => Buffer.from(path, 'latin1').toString());
  }
}
