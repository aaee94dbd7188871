// Dumps of real databases: the manual's own commands, restored on fresh servers; and dumps that die half way.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { maxBlobBytes } from '../../src/chunker/chunker.ts';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import {
  DatabaseServer,
  mariadb,
  postgresql,
  postgresqlPrograms,
  startDatabaseServers,
  type ServerKind,
} from '../support/database-server.ts';
import { makeOrdinaryFolder } from '../support/ordinary-user.ts';
import { needsPeers } from '../support/peers.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/manual/databases.md'), 'utf8');

/** @throws Error if it does not come true in a few hundred tries */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries++) if (await condition()) return;
  throw new Error('it did not come true');
}

const postgresqlRows = `
  create role reporter;
  create database app;
  \\c app
  create type mood as enum ('calm', 'it''s "odd"');
  create table people (id serial primary key, name text, born timestamptz, photo bytea, facts jsonb, mood mood);
  insert into people (name, born, photo, facts, mood)
    select md5(n::text) || E'\\t\\n\\\\ ünï 🗝', timestamptz '2001-02-03 04:05:06.789+00' + n * interval '1 hour',
      decode(md5(n::text), 'hex'), jsonb_build_object('n', n, 'half', n / 2.0), 'it''s "odd"'
    from generate_series(1, 90000) n;
  insert into people (name) values (null), (''), ('\\.');
  create index on people (name);
  create view calm as select id from people where mood is null;
  grant select on calm to reporter;
`;
const postgresqlQuestions = `
  select * from people order by id; select * from calm order by id; select nextval('people_id_seq');
  select relacl from pg_class where relname = 'calm';
`;

const mariadbRows = `
  create database shop character set utf8mb4;
  use shop;
  create table goods (id int auto_increment primary key, name varchar(200), price decimal(12,4), picture blob, made datetime(6)) engine=InnoDB;
  insert into goods (name, price, picture, made)
    select concat(md5(seq), '\\t\\n\\\\ ünï 🗝'), seq / 7, unhex(md5(seq)), '2001-02-03 04:05:06.789' + interval seq hour from seq_1_to_30000;
  insert into goods (name) values (null), ('');
  create table history (id int auto_increment primary key, name varchar(200));
  create trigger remember after insert on goods for each row insert into history (name) values (new.name);
  create view cheap as select id from goods where price < 10;
  create procedure add_one() insert into goods (name) values ('one');
`;
const mariadbQuestions = `
  select id, name, price, hex(picture), made from goods order by id; select * from cheap order by id;
  call add_one(); select * from history; select max(id) from goods;
`;

const sqliteRows = `
  pragma journal_mode = wal;
  create table notes (id integer primary key, text text, data blob);
  with recursive count (n) as (select 1 union all select n + 1 from count where n < 20000)
    insert into notes select n, n || ' ünï 🗝', randomblob(50) from count;
`;

describe('databases', needsPeers, () => {
  const cleanups: (() => void | Promise<void>)[] = [];
  let sandbox: Sandbox;
  let env: Record<string, string>;
  let fresh: { postgresql: DatabaseServer; mariadb: DatabaseServer };
  let first: { postgresql: DatabaseServer; mariadb: DatabaseServer };

  before(async () => {
    const lifetime = { after: (clean: () => void) => void cleanups.unshift(clean) };
    sandbox = createSandbox(lifetime);
    const start = async (kind: ServerKind): Promise<[DatabaseServer, DatabaseServer]> => {
      const servers = await startDatabaseServers(kind);
      cleanups.unshift(async () => {
        for (const server of servers) await server.close();
      });
      return servers;
    };
    const [postgresqls, mariadbs] = await Promise.all([start(postgresql), start(mariadb)]);
    first = { postgresql: postgresqls[0], mariadb: mariadbs[0] };
    fresh = { postgresql: postgresqls[1], mariadb: mariadbs[1] };
    env = {
      PATH: `${postgresqlPrograms}:${join(import.meta.dirname, '../..')}:${process.env['PATH']}`,
      PGTZ: 'UTC',
      SALVAGE_REPOSITORY: sandbox.path('repository'),
      ...first.postgresql.env,
      ...first.mariadb.env,
    };
    await ok('psql -q -v ON_ERROR_STOP=1 postgres > /dev/null', postgresqlRows);
    await ok('mariadb', mariadbRows);
    await ok('sqlite3 -bail notes.db', sqliteRows);
    await runPage();
  });
  after(async () => {
    for (const clean of cleanups) await clean();
  });

  async function ok(script: string, stdin?: string, more: Record<string, string> = {}): Promise<string> {
    const { code, stdout, stderr } = await sandbox.shell(script, {
      env: { ...env, ...more },
      ...(stdin !== undefined && { stdin }),
    });
    assert.equal(code, 0, `${script}\n${stderr}`);
    return stdout.toString();
  }

  /** The page's commands, one after the other; those below a heading "Restore" see the fresh servers. */
  async function runPage(): Promise<void> {
    const script = page
      .split(/^(?=###? )/m)
      .flatMap((section) => {
        const servers = section.startsWith('### Restore') ? fresh : first;
        const variables = Object.entries({ ...servers.postgresql.env, ...servers.mariadb.env });
        const blocks = [...section.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block!);
        return [variables.map(([name, value]) => `export ${name}='${value}'`).join('\n'), ...blocks];
      })
      .join('\n');
    const { code, stderr } = await sandbox.shell(script, { env });
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr.replace('ERROR:  role "postgres" already exists', ''), /^salvage:|error:/im);
  }

  /** The command line of the page that makes this file. */
  function commandFor(name: string): string {
    const line = page
      .split('\n')
      .find((text) => text.startsWith('salvage backup') && text.includes(`--as ${name} `));
    assert.ok(line);
    return line;
  }

  function countSnapshots(): number {
    return globSync('snapshots/*/SHA256SUMS.sig', { cwd: sandbox.path('repository') }).length;
  }

  /** What the command prints is not whole: there is no new snapshot, and the repository is as good as before. */
  async function assertNoSnapshot(
    command: string,
    reason: RegExp,
    whileItRuns: () => Promise<void> = () => Promise.resolve(),
  ): Promise<RunResult> {
    const before = countSnapshots();
    const run = sandbox.salvage(['backup', '--command', command, '--as', 'dead.sql'], { env });
    await whileItRuns();
    const result = await run;
    assert.equal(result.code, 1, result.stderr);
    assert.match(
      result.stderr,
      /^salvage: Cannot back up what the command prints: it failed with exit code/m,
    );
    assert.match(result.stderr, reason);
    assert.equal(countSnapshots(), before);
    return result;
  }

  for (const [name, most] of [
    // The word of \restrict is at both ends: two pieces of a dump are new, however it is cut.
    ['app.sql', 2 * maxBlobBytes],
    ['shop.sql', 0],
    ['notes.db', 0],
  ] as const)
    test(`an unchanged dump costs next to nothing: ${name}`, async () => {
      const run = `${commandFor(name)} --json`;
      const [summary] = (await ok(run)).trimEnd().split('\n').slice(-1);
      const { contentBytes, bytesNew, storedBytes } = JSON.parse(summary!) as Record<string, number>;
      assert.ok(contentBytes! > Math.max(1_000_000, 1.2 * most), `${contentBytes} bytes`);
      assert.ok(bytesNew! <= most, `${bytesNew} of ${contentBytes} bytes are new`);
      if (most === 0) assert.ok(storedBytes! < 10_000, `${storedBytes}`);
    });

  test('PostgreSQL: a fresh server has every row, sequence, view and right', async () => {
    const ask = async (server: DatabaseServer): Promise<string> =>
      await ok('psql -At -v ON_ERROR_STOP=1 app', postgresqlQuestions, server.env);
    const rows = await ask(first.postgresql);
    assert.ok(rows.split('\n').length > 30_000);
    assert.equal(await ask(fresh.postgresql), rows);
  });

  test('PostgreSQL: a server starts from the whole cluster', async (t) => {
    const folder = makeOrdinaryFolder('salvage-db-');
    const server = new DatabaseServer(postgresql, folder);
    t.after(() => server.close());
    // What root unpacked becomes the server's own.
    await ok(`cp -a cluster '${folder}/data' && chown -R --reference='${folder}' '${folder}/data'`);
    await server.start();
    const question = 'select count(*), sum(id), md5(string_agg(name, $$,$$ order by id)) from people';
    const ask = async (one: DatabaseServer): Promise<string> =>
      await ok(`psql -At -c '${question}' app`, undefined, one.env);
    assert.equal(await ask(server), await ask(first.postgresql));
  });

  test('MariaDB: a fresh server has every row, trigger, view and procedure', async () => {
    const ask = async (server: DatabaseServer): Promise<string> =>
      await ok('mariadb -N shop', mariadbQuestions, server.env);
    const rows = await ask(fresh.mariadb);
    assert.ok(rows.split('\n').length > 30_000);
    assert.equal(rows, await ask(first.mariadb));
  });

  test('SQLite: the copy has every row, also while others write', async () => {
    const ask = async (file: string): Promise<string> =>
      await ok(
        `sqlite3 -readonly ${file} 'pragma integrity_check; select id, text, hex(data) from notes order by id'`,
      );
    assert.equal(await ask('restored-notes.db'), await ask('notes.db'));
    const copies = await ok(`
      count() { sqlite3 -readonly "$1" 'select count(*) from notes'; }
      before=$(count notes.db)
      while [ ! -e stop ]; do
        echo "begin immediate; insert into notes (text) values ('a'); insert into notes (text) values ('b'); commit;"
      done | sqlite3 -cmd '.timeout 60000' -cmd 'pragma synchronous = off' notes.db > /dev/null & writer=$!
      until [ "$(count notes.db)" -gt "$before" ]; do sleep 0.01; done
      for copy in 1 2 3; do ./dump-sqlite notes.db > copy.db; count copy.db; done
      kill -0 $writer; touch stop; wait $writer`);
    for (const count of copies.trim().split('\n')) assert.equal(Number(count) % 2, 0, 'half a transaction');
  });

  test('a database that is not there makes no snapshot', async () => {
    await assertNoSnapshot('pg_dump nosuch', /database "nosuch" does not exist/);
    // It has printed a header by then.
    const printed = await sandbox.shell('mysqldump nosuch', { env });
    assert.notEqual(printed.code, 0);
    assert.ok(printed.stdout.length > 500);
    await assertNoSnapshot('mysqldump nosuch', /Unknown database 'nosuch'/);
    await assertNoSnapshot('./dump-sqlite nosuch.db', /unable to open database/);
    await assertNoSnapshot('nosuch-dump app', /exit code 127/);
  });

  test('a damaged SQLite file makes no snapshot', async () => {
    await ok(`cp restored-notes.db damaged.db
      head -c 20000 /dev/zero | tr '\\0' x | dd of=damaged.db bs=1 seek=40000 conv=notrunc status=none`);
    assert.match(await ok('sqlite3 damaged.db .dump 2> /dev/null | tail -n 1'), /ROLLBACK; -- due to errors/);
    await assertNoSnapshot('./dump-sqlite damaged.db', /exit code 1/);
  });

  test('MariaDB that dies in the middle of a dump leaves no snapshot', async (t) => {
    await ok('mariadb shop', 'create table locked (id int); insert into locked values (1)');
    const statement = sandbox.program('mariadb', ['shop'], {
      env,
      stdin: 'lock tables locked write; select sleep(600)',
    });
    t.after(() => statement);
    const processes = async (): Promise<string> => await ok(`mariadb -e 'show processlist'`);
    await until(async () => (await processes()).includes('sleep(600)'));
    await assertNoSnapshot('mysqldump --single-transaction shop', /Lost connection/, async () => {
      await until(async () => (await processes()).includes('Waiting for table metadata lock'));
      await first.mariadb.crash();
    });
    await first.mariadb.start();
  });

  test('PostgreSQL that dies in the middle of a dump leaves no snapshot', async () => {
    const pid = join(first.postgresql.folder, 'data/postmaster.pid');
    const dies = `bash -o pipefail -c 'pg_dump app | (head -c 200000; kill -QUIT $(head -n 1 ${pid}); cat)'`;
    await assertNoSnapshot(dies, /server closed the connection unexpectedly|terminating connection/);
    await first.postgresql.crash();
    await first.postgresql.start();
  });

  test('the repository is whole after all that', async () => {
    await ok('salvage verify --read-data --allowed-signers allowed_signers --signer db-1');
    assert.equal((await ok('find repository -name "*.partial" -o -path "*/.incoming/*"')).trim(), '');
  });
});
