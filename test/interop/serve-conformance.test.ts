// The storage behind `salvage serve`: over a plain child process, and over a real sshd with a forced command.
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { openSshStorage } from '../../src/storage/ssh/connect-ssh.ts';
import type { ServedStorage } from '../../src/storage/ssh/served-storage.ts';
import { salvage } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';
import { testStorage, type StorageUnderTest } from '../support/storage-conformance.ts';

const parent = mkdtempSync(join(tmpdir(), 'salvage-serve-'));
after(() => rmSync(parent, { recursive: true, force: true }));

async function open(url: string, sshCommand: string): Promise<ServedStorage> {
  return await openSshStorage(url, { env: process.env, sshCommand, clock: systemClock });
}

let folders = 0;
function subject(host: () => { readonly url: string; readonly sshCommand: string }): StorageUnderTest {
  return {
    open: async () => {
      const { url, sshCommand } = host();
      const place = `${url}/place-${++folders}`;
      const [storage, second] = await Promise.all([open(place, sshCommand), open(place, sshCommand)]);
      return {
        storage,
        second,
        close: async () => {
          await Promise.all([storage.close(), second.close()]);
        },
      };
    },
    bigBytes: 5_000_000,
  };
}

// What sshd does with a forced command: whatever the client asks to be run, this is.
const forced = `exec ${salvage} serve --stdio --root ${parent} --allow-remove`;
testStorage(
  'served by a child',
  subject(() => ({ url: 'ssh://child', sshCommand: `sh -c '${forced}' ssh` })),
);

describe('served over a real sshd', needsPeers, () => {
  let sshd: TestSshd;
  let sshCommand: string;
  let shared: string;
  let master: ChildProcess | undefined;
  let close: (() => Promise<void>) | undefined;
  before(async () => {
    sshd = await startSshd({
      after: (callback) => {
        close = callback;
      },
    });
    ({ sshCommand } = sshd.addClient(
      'keeper',
      `command="${salvage} serve --stdio --root ${parent} --allow-remove",restrict`,
    ));
    // One login for all: the connections of the suite are channels of this one.
    const words = [...sshCommand.split(' ').slice(1), '-o', `ControlPath=${parent}/%C`];
    const to = ['-p', String(sshd.port), `${sshd.user}@${sshd.host}`];
    master = spawn('ssh', [...words, '-o', 'ControlMaster=yes', '-N', ...to], { stdio: 'ignore' });
    while (spawnSync('ssh', [...words, '-O', 'check', ...to]).status !== 0) await setTimeout(20);
    shared = ['ssh', ...words].join(' ');
  });
  after(async () => {
    master?.kill();
    await close?.();
  });
  testStorage(
    'served over a real sshd',
    subject(() => ({ url: url(), sshCommand: shared })),
  );

  const url = (path = ''): string => `ssh://${sshd.user}@${sshd.host}:${sshd.port}${path}`;
  const failure = (pattern: RegExp) => (error: unknown) =>
    error instanceof SalvageError &&
    error.code === 'failed' &&
    pattern.test(`${error.message} ${error.hint}`);

  test('a key that is tied to nothing finds no salvage there, and the error says so', async () => {
    const account = sshd.addClient('nothing', 'command="salvage-that-is-not-installed",restrict');
    await assert.rejects(open(url(), account.sshCommand), failure(/not found.*must be installed/));
  });

  test('a key that runs something else', async () => {
    const account = sshd.addClient('motd', 'command="echo Welcome to the machine",restrict');
    await assert.rejects(
      open(url(), account.sshCommand),
      failure(/not salvage: it says "Welcome to the machine"/),
    );
  });

  test('an account with a shell and salvage in its PATH: the path of the URL is one of the machine', async () => {
    const { sshCommand: shell } = sshd.addClient(
      'shell',
      `command="PATH=$(dirname ${salvage}):$PATH sh -c \\"$SSH_ORIGINAL_COMMAND\\"",restrict`,
    );
    const place = join(parent, 'a folder', 'new');
    const storage = await open(url(encodeURI(place)), shell);
    assert.equal(await storage.create('object', [Buffer.from('x')]), 'created');
    await storage.close();
    assert.equal(readFileSync(join(place, 'object'), 'utf8'), 'x');
  });

  test('a door takes an archive that is larger than any object of a repository', async () => {
    const place = join(parent, 'archives');
    mkdirSync(place);
    const account = sshd.addClient(
      'archives',
      `command="${salvage} serve --stdio --root ${place} --append-only --quota 200M",restrict`,
    );
    const storage = await open(url(), account.sshCommand);
    const piece = randomBytes(1024 * 1024);
    async function* archive(): AsyncGenerator<Uint8Array> {
      for (let pieces = 0; pieces < 130; pieces++) yield piece;
      await Promise.resolve();
    }
    assert.equal(await storage.createFromStream('web-1.tar.zst.age', archive()), 'created');
    assert.equal((await storage.stat('web-1.tar.zst.age'))?.sizeBytes, 130 * piece.length);
    await storage.close();
    rmSync(place, { recursive: true });
  });

  test('a key that is not accepted', async () => {
    const other = join(parent, 'other');
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', other]);
    await assert.rejects(open(url(), `${sshCommand} -i ${other} -o IdentityFile=none -F none`), SalvageError);
  });

  test('a folder that is not there', async () => {
    const account = sshd.addClient(
      'absent',
      `command="${salvage} serve --stdio --root ${parent}/absent --append-only",restrict`,
    );
    await assert.rejects(open(url(), account.sshCommand), failure(/Cannot serve ".*absent": ENOENT/));
  });
});
