import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { havePeers, needsPeers, newestRclone } from '../../../test/support/peers.ts';
import { testStorage } from '../../../test/support/storage-conformance.ts';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { patientRetries } from '../retry/backoff.ts';
import { RetryingStorage } from '../retry/retrying-storage.ts';
import { findTransient } from '../transient-error.ts';
import { openRclone } from './open-rclone.ts';
import type { RcloneStorage } from './rclone-storage.ts';

interface Place {
  readonly folder: string;
  readonly env: Record<string, string>;
  readonly open: (path?: string) => RcloneStorage;
}

function makePlace(programFolder = '/usr/bin'): Place {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-rclone-test-'));
  mkdirSync(join(folder, 'tmp'));
  writeFileSync(join(folder, 'rclone.conf'), '[disk]\ntype = local\n');
  const env = {
    PATH: `${programFolder}:/usr/bin:/bin`,
    RCLONE_CONFIG: join(folder, 'rclone.conf'),
    TMPDIR: join(folder, 'tmp'),
  };
  return {
    folder,
    env,
    open: (path = 'new/repository') =>
      openRclone(`rclone:disk:${join(folder, path)}`, { env, clock: systemClock }),
  };
}

function withPlace(run: (place: Place) => Promise<void>): () => Promise<void> {
  return async () => {
    const place = makePlace();
    try {
      await run(place);
    } finally {
      rmSync(place.folder, { recursive: true, force: true });
    }
  };
}

if (havePeers)
  for (const [version, programFolder] of [
    ['of Debian 12', '/usr/bin'],
    ['as new as can be', newestRclone],
  ])
    testStorage(`rclone ${version}, local disk`, {
      manyObjects: 100,
      open: async () => {
        const place = await Promise.resolve(makePlace(programFolder));
        const [storage, second] = [place.open(), place.open()];
        return {
          storage,
          second,
          close: async () => {
            await Promise.all([storage.close(), second.close()]);
            const left = readdirSync(join(place.folder, 'tmp'));
            rmSync(place.folder, { recursive: true, force: true });
            assert.deepEqual(left, [], 'nothing stays in the folder for temporary files');
          },
        };
      },
    });

test(
  'what crashed uploads have left is not seen, and is removed when it is old',
  needsPeers,
  withPlace(async ({ folder, open }) => {
    const storage = open('.');
    mkdirSync(join(folder, '.incoming'));
    for (const name of ['old', 'new']) writeFileSync(join(folder, '.incoming', name), 'half');
    utimesSync(join(folder, '.incoming', 'old'), 0, 0);
    // Nor is anything else that could not be an object.
    for (const name of ['no name!', '.hidden', 'ä']) writeFileSync(join(folder, name), '');
    mkdirSync(join(folder, 'no folder!'));
    const listed = (await Array.fromAsync(storage.list(''))).map(({ name }) => name);
    assert.deepEqual(listed, ['rclone.conf']);
    assert.equal(await storage.removeUnfinished(86_400_000), 1);
    assert.deepEqual(readdirSync(join(folder, '.incoming')), ['new']);
    await storage.close();
  }),
);

test(
  'what rclone or a remote refuses is an error that names object and reason, and is not worth a second try',
  needsPeers,
  withPlace(async ({ folder, env }) => {
    writeFileSync(join(folder, 'blocked'), 'a file where a folder should be');
    const unable = [
      [`rclone:disk:${folder}/blocked`, env, /"packs\/object".*not a directory/],
      ['rclone:elsewhere:path', env, /didn't find section in config file/],
      ['rclone:disk:x', { ...env, PATH: '/nowhere' }, /the program is not there/],
      ['rclone:disk:x', { ...env, TMPDIR: join(folder, 'blocked') }, /Cannot make a folder/],
      ['rclone:disk:x', { ...env, RCLONE_CHECKERS: 'many' }, /does not start.*many/],
    ] as const;
    for (const [url, settings, message] of unable) {
      const storage = openRclone(url, { env: settings, clock: systemClock });
      await assert.rejects(
        async () => await storage.create('packs/object', [Buffer.from('x')]),
        (error) =>
          error instanceof SalvageError &&
          error.code === 'failed' &&
          message.test(error.message) &&
          !findTransient(error),
        String(message),
      );
      await storage.close();
    }
  }),
);

test(
  'a program that dies is a passing failure, and is started again',
  needsPeers,
  withPlace(async ({ folder, open }) => {
    const storage = new RetryingStorage(open(), { ...patientRetries, firstDelayMs: 20 });
    await storage.create('object', [Buffer.from('x')]);
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(1000);
      process.kill(programBelow(folder), 'SIGKILL');
      yield Buffer.alloc(1000);
    };
    await assert.rejects(
      async () => await storage.createFromStream('stream', body()),
      (error) => findTransient(error) !== undefined,
    );
    assert.equal(await storage.stat('stream'), undefined);
    assert.deepEqual(await storage.read('object'), new Uint8Array(Buffer.from('x')));
    await storage.close();
  }),
);

test('one request opens the remote, and a folder that another client makes meanwhile is no failure', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-rclone-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'rclone'), `#!/bin/sh\nexec "${process.execPath}" "${folder}/fake.mjs"\n`, {
    mode: 0o755,
  });
  writeFileSync(join(folder, 'fake.mjs'), fakeRclone);
  const env = { PATH: `${folder}:/usr/bin:/bin`, TMPDIR: folder };
  const storage = openRclone('rclone:fake:repository', { env, clock: systemClock });
  t.after(async () => await storage.close());
  const names = Array.from({ length: 20 }, (_, index) => `packs/${index % 4}/${index}`);
  const results = await Promise.all(
    names.map(async (name) => await storage.create(name, [Buffer.from('content')])),
  );
  assert.deepEqual(new Set(results), new Set(['created']));
  await assert.rejects(
    async () => await storage.create('refused/object', [Buffer.from('content')]),
    /mkdir "refused" failed/,
  );
});

/**
 * As rclone with a remote whose connection takes its time: whoever asks before it is open is a mistake. Each upload fails
 * twice for a folder that is being made.
 */
const fakeRclone = `
import { createServer } from 'node:http';
import { statSync } from 'node:fs';
const stored = new Map();
const failures = new Map();
let isOpen = false;
const server = createServer((request, response) => {
  const command = request.url.split('/').at(-1);
  const answer = (status, value) => response.writeHead(status).end(JSON.stringify(value));
  let body = '';
  request.on('data', (bytes) => (body += bytes));
  request.on('end', () => {
    const { remote, srcFs, srcRemote, dstRemote } = JSON.parse(body);
    if (command === 'fsinfo') {
      setTimeout(() => {
        isOpen = true;
        answer(200, { Features: { BucketBased: true } });
      }, 50);
    } else if (!isOpen) answer(500, { error: 'asked before the remote was open' });
    else if (command === 'stat') {
      const item = stored.has(remote) ? { Size: stored.get(remote), IsDir: false } : null;
      answer(200, { item });
    } else {
      const name = dstRemote.split('/')[0];
      const count = (failures.get(dstRemote) ?? 0) + 1;
      failures.set(dstRemote, count);
      if (count < 3 || name === 'refused')
        return answer(500, { error: 'Put mkParentDir failed: mkdir "' + name + '" failed: sftp: "Failure" (SSH_FX_FAILURE)' });
      stored.set(dstRemote, statSync(srcFs + '/' + srcRemote).size);
      answer(200, {});
    }
  });
});
server.listen(0, '127.0.0.1', () =>
  console.error('Serving remote control on http://127.0.0.1:' + server.address().port + '/'),
);
`;

test(
  'the password is not among the arguments, and nobody gets in without it',
  needsPeers,
  withPlace(async ({ folder, open }) => {
    const storage = open();
    await storage.create('object', [Buffer.from('x')]);
    const pid = programBelow(folder);
    const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
    const { RCLONE_RC_PASS: password = '' } = environmentOf(pid);
    assert.equal(password.length, 64);
    assert.ok(!words.some((word) => word.includes(password) || word.includes(folder)), words.join(' '));
    const port = listeningPort(pid);
    for (const headers of [undefined, { Authorization: `Basic ${btoa('x:y')}` }]) {
      const { status } = await fetch(`http://127.0.0.1:${port}/operations/list`, {
        method: 'POST',
        ...(headers && { headers }),
      });
      assert.equal(status, 401);
    }
    await storage.close();
    assert.ok(!existsSync(`/proc/${pid}`));
  }),
);

test('URLs that name no remote are refused, and passwords in them are not shown', () => {
  const settings = { env: {}, clock: systemClock };
  for (const url of ['rclone:', 'rclone:remote', 'rclone://host/path', 'rclone::', 'rclone:a\nb:c'])
    assert.throws(
      () => openRclone(url, settings),
      (error) => error instanceof SalvageError && error.code === 'usage',
      url,
    );
  for (const [url, shown] of [
    ['rclone:remote:a/b', 'rclone:remote:a/b'],
    ['rclone::local:/a/b', 'rclone::local:/a/b'],
    ['rclone:/a/b', 'rclone:/a/b'],
    ['rclone::sftp,host=h,pass=secret:a', 'rclone::sftp,…:a'],
    ['rclone:remote,pass="se:cret":a', 'rclone:remote,…:a'],
  ])
    assert.equal(openRclone(url!, settings).description, shown);
});

function environmentOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
  return Object.fromEntries(lines.map((line) => [line.split('=', 1)[0]!, line.slice(line.indexOf('=') + 1)]));
}

/** The process of rclone that has this folder for its temporary files. */
function programBelow(folder: string): number {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const isRclone = readFileSync(`/proc/${pid}/comm`, 'latin1').trim() === 'rclone';
      if (isRclone && environmentOf(Number(pid))['TMPDIR'] === join(folder, 'tmp')) return Number(pid);
    } catch {
      // It has ended meanwhile, or is somebody else's.
    }
  }
  throw new Error('rclone does not run');
}

function listeningPort(pid: number): number {
  const sockets = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    } catch {
      return undefined;
    }
  });
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n')) {
    const [, address = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === '0A' && sockets.includes(inode)) return Number.parseInt(address.split(':')[1]!, 16);
  }
  throw new Error('rclone listens nowhere');
}
