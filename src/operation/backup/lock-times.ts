import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { SalvageError } from '../../errors/salvage-error.ts';
import { isObjectName } from '../../storage/object-name.ts';

const firstLine = 'salvage-locks 1';
const never = new Date(0);

/** Until when objects are locked, as this host has had them locked. Where nothing is known they are not. */
export class LockTimes {
  /** In seconds since 1970, by name. */
  readonly #seconds = new Map<string, number>();

  /** What was written, or nothing: the file is disposable. */
  static read(path: string): LockTimes {
    const times = new LockTimes();
    let lines: string[];
    try {
      lines = readFileSync(path, 'utf8').split('\n');
    } catch {
      return times;
    }
    if (lines.shift() !== firstLine) return times;
    for (const line of lines) {
      const [name = '', seconds = ''] = line.split(' ');
      if (isObjectName(name) && /^\d{1,12}$/.test(seconds)) times.#seconds.set(name, Number(seconds));
    }
    return times;
  }

  until(name: string): Date {
    const seconds = this.#seconds.get(name);
    return seconds === undefined ? never : new Date(seconds * 1000);
  }

  set(name: string, until: Date): void {
    this.#seconds.set(name, Math.floor(until.getTime() / 1000));
  }

  /** Keeps what is known of `names`, whole or not at all. @throws failed */
  write(path: string, names: readonly string[]): void {
    const known = names.filter((name) => this.#seconds.has(name));
    const lines = known.map((name) => `${name} ${this.#seconds.get(name)!}\n`);
    try {
      writeFileSync(`${path}.new`, `${firstLine}\n${lines.join('')}`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (cause) {
      throw new SalvageError('failed', `Cannot write "${path}": ${(cause as Error).message}`, { cause });
    }
  }
}
