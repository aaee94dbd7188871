import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SalvageError } from '../errors/salvage-error.ts';
import { replacePrivateFile } from '../posix/replace-private-file.ts';
import {
  decodeHostConfiguration,
  encodeHostConfiguration,
  type HostConfiguration,
} from '../repository/host-configuration.ts';
import { isRepositoryId, type RepositoryId } from '../repository/ids.ts';

/** What this host knows of its repositories: one file of mode 0600 for each, by the repository's id. */
export class HostConfigurations {
  readonly #folder: string;

  /** `folder` need not exist. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  pathOf(repository: RepositoryId): string {
    return join(this.#folder, `${repository}.json`);
  }

  /** The repositories that this host is set up for. */
  list(): RepositoryId[] {
    try {
      return readdirSync(this.#folder)
        .map((name) => name.replace(/\.json$/, ''))
        .filter(isRepositoryId);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw failed('list', this.#folder, error);
    }
  }

  /** Undefined if this host is not set up for the repository. @throws usage if the file is not valid; failed */
  read(repository: RepositoryId): HostConfiguration | undefined {
    const path = this.pathOf(repository);
    try {
      return decodeHostConfiguration(readFileSync(path), path);
    } catch (error) {
      if (error instanceof SalvageError) throw error;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw failed('read', path, error);
    }
  }

  /** The only one that was made for this URL, if there is one: what is there now may be another repository. */
  findByUrl(url: string): HostConfiguration | undefined {
    try {
      const found = this.list()
        .map((id) => this.read(id))
        .filter((configuration) => configuration?.repository === url);
      return found.length === 1 ? found[0] : undefined;
    } catch (error) {
      // One that cannot be read is told of where it is needed.
      if (error instanceof SalvageError) return undefined;
      throw error;
    }
  }

  /** @throws usage also if this host is not set up for the repository */
  require(repository: RepositoryId, description: string): HostConfiguration {
    const found = this.read(repository);
    if (found) return found;
    throw new SalvageError('usage', `Cannot back up to "${description}": this host is not set up for it`, {
      hint: `To go on with this repository from here: salvage init --adopt --repo "${description}" -R FILE`,
      details: { configuration: this.pathOf(repository) },
    });
  }

  /** Whole or not at all. @throws failed */
  write(configuration: HostConfiguration): void {
    const path = this.pathOf(configuration.repositoryId);
    try {
      replacePrivateFile(path, encodeHostConfiguration(configuration));
    } catch (error) {
      throw failed('write', path, error);
    }
  }

  remove(repository: RepositoryId): void {
    rmSync(this.pathOf(repository), { force: true });
  }
}

function failed(what: string, path: string, cause: unknown): SalvageError {
  return new SalvageError(
    'failed',
    `Cannot ${what} the host configuration "${path}": ${(cause as Error).message}`,
    { cause },
  );
}
