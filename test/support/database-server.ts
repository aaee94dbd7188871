// Throw-away servers of PostgreSQL and MariaDB, each in a folder of its own, reached by a socket in it and by nothing else.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { makeOrdinaryFolder, ordinaryUser, runAsOrdinaryUser } from './ordinary-user.ts';

/** Debian keeps the programs of the server out of PATH. */
export const postgresqlPrograms = '/usr/lib/postgresql/15/bin';

export interface ServerKind {
  /** Makes the files of an empty server in `folder/data`. */
  readonly create: (folder: string) => void;
  readonly program: string;
  readonly arguments: (folder: string) => readonly string[];
  /** Ends with 0 once the server answers. */
  readonly probe: (folder: string) => readonly [program: string, ...args: string[]];
  /** What the programs of a client need to find it, as the one that may do everything. */
  readonly env: (folder: string) => Record<string, string>;
}

export const postgresql: ServerKind = {
  create: (folder) =>
    runAsOrdinaryUser(
      join(postgresqlPrograms, 'initdb'),
      ['-D', join(folder, 'data'), '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--no-locale'],
      folder,
    ),
  program: join(postgresqlPrograms, 'postgres'),
  arguments: (folder) => {
    const settings = ['listen_addresses=', 'fsync=off', 'full_page_writes=off', 'shared_buffers=16MB'];
    return ['-D', join(folder, 'data'), '-k', folder, ...settings.flatMap((setting) => ['-c', setting])];
  },
  probe: (folder) => [join(postgresqlPrograms, 'pg_isready'), '-q', '-h', folder],
  env: (folder) => ({ PGHOST: folder, PGUSER: 'postgres' }),
};

export const mariadb: ServerKind = {
  create: (folder) =>
    runAsOrdinaryUser(
      'mariadb-install-db',
      [
        '--no-defaults',
        `--datadir=${join(folder, 'data')}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
        '--innodb-log-file-size=8M',
      ],
      folder,
    ),
  program: '/usr/sbin/mariadbd',
  arguments: (folder) => [
    '--no-defaults',
    `--datadir=${join(folder, 'data')}`,
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    '--skip-networking',
    '--innodb-buffer-pool-size=16M',
    '--innodb-log-file-size=8M',
    '--innodb-flush-log-at-trx-commit=0',
  ],
  probe: (folder) => ['mariadb-admin', '--no-defaults', '-u', 'root', '-S', join(folder, 'socket'), 'status'],
  env(folder) {
    // The only thing that goes before the socket of Debian's own /etc/mysql.
    const client = ['user=root', `socket=${join(folder, 'socket')}`, 'default-character-set=utf8mb4'];
    writeFileSync(join(folder, 'my.cnf'), `[client]\n${client.join('\n')}\n`);
    return { MARIADB_HOME: folder };
  },
};

/** Starts two that are empty: one to be dumped, one for the restore. They are to be closed. */
export async function startDatabaseServers(kind: ServerKind): Promise<[DatabaseServer, DatabaseServer]> {
  const first = new DatabaseServer(kind, makeOrdinaryFolder('salvage-db-'));
  const second = new DatabaseServer(kind, makeOrdinaryFolder('salvage-db-'));
  try {
    kind.create(first.folder);
    // Faster than to make another.
    runAsOrdinaryUser('cp', ['-a', join(first.folder, 'data'), second.folder], second.folder);
    await first.start();
    await second.start();
    return [first, second];
  } catch (error) {
    await first.close();
    await second.close();
    throw error;
  }
}

export class DatabaseServer {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #kind: ServerKind;
  #child: ChildProcess | undefined;

  /** Use `startDatabaseServers`, or `start` on files that are in `folder/data` already. */
  constructor(kind: ServerKind, folder: string) {
    this.folder = folder;
    this.env = kind.env(folder);
    this.#kind = kind;
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    const log = openSync(join(this.folder, 'log'), 'a');
    const { program, probe } = this.#kind;
    const child = spawn(program, this.#kind.arguments(this.folder), {
      ...ordinaryUser,
      cwd: this.folder,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child = child;
    const [probeProgram, ...args] = probe(this.folder);
    while (spawnSync(probeProgram, args, { stdio: 'ignore' }).status !== 0) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`${program} ended: ${readFileSync(join(this.folder, 'log'), 'utf8')}`);
      await setTimeout(20);
    }
  }

  /** Ends it at once, as a crash does, with what it is answering. */
  async crash(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    // For PostgreSQL, SIGKILL would leave the processes that it has started; SIGQUIT is its "immediate shutdown".
    child.kill(this.#kind === postgresql ? 'SIGQUIT' : 'SIGKILL');
    await ended;
  }

  /** Ends it and removes its files. */
  async close(): Promise<void> {
    await this.crash();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
