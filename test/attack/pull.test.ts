// A host that has fallen, and from which a keeper pulls: what it sends becomes a snapshot only if it is one.
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { before, suite, test, after } from 'node:test';
import { systemClock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { pull, type PullResult } from '../../src/operation/pull/pull.ts';
import { parseAllowedSigners } from '../../src/ssh/allowed-signers.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import { Refusal } from '../../src/storage/serve/messages.ts';
import { ServeClient } from '../../src/storage/ssh/serve-client.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createSandbox, type Sandbox } from '../support/cli.ts';

type Objects = Map<string, Buffer>;

function readObjects(folder: string): Objects {
  const objects: Objects = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile())
      objects.set(
        `${entry.parentPath}/${entry.name}`.slice(folder.length + 1),
        readFileSync(join(entry.parentPath, entry.name)),
      );
  return objects;
}

/** In the order in which a run commits; a listing of one folder has it too. */
function inOrder(objects: Objects): [string, Buffer][] {
  const rank = (name: string): number =>
    name.endsWith('.sig') ? 3 : name.endsWith('SHA256SUMS') ? 2 : name.startsWith('snapshots/') ? 1 : 0;
  return [...objects].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

suite('a hostile host behind a pull', () => {
  let box: Sandbox;
  let first: Objects;
  let second: Objects;
  let allowed: string;
  const cleanUp: (() => void)[] = [];
  after(() => cleanUp.forEach((work) => work()));

  before(async () => {
    box = createSandbox({ after: (work) => cleanUp.push(work) });
    box.write('src/file', 'content of the host');
    const { code, stderr } = await box.shell(`ssh-keygen -q -t ed25519 -N '' -f id
      salvage init --repo repo -R id.pub --name web-1 > allowed
      salvage backup --repo repo src`);
    assert.equal(code, 0, stderr);
    first = readObjects(box.path('repo'));
    cpSync(box.path('repo'), box.path('fork'), { recursive: true });
    cpSync(box.path('.home/.cache'), box.path('.home/.cache-fork'), { recursive: true });
    await box.shell('echo more >> src/file; salvage backup --repo repo src');
    second = readObjects(box.path('repo'));
    allowed = box.read('allowed').toString();
  });

  /** Sends the objects to a keeper's storage, as a host does whose program is not ours. */
  async function offer(
    objects: Iterable<[string, Uint8Array]>,
    keeper: Storage = new MemoryStorage(),
    signers: string = allowed,
  ): Promise<{
    result: PullResult | SalvageError;
    refused: Map<string, string>;
    notices: string[];
    keeper: Storage;
  }> {
    const toKeeper = new PassThrough();
    const toHost = new PassThrough();
    const notices: string[] = [];
    const pulling = pull({
      storage: keeper,
      input: toKeeper,
      output: toHost,
      trusted: { allowedSigners: parseAllowedSigners(signers), principal: 'web-1' },
      observer: {
        onConnected: () => {},
        onStored: () => {},
        onSnapshot: () => {},
        onNotice: (message) => notices.push(message),
      },
      clock: systemClock,
      signal: new AbortController().signal,
    }).catch((error: unknown) => {
      assert.ok(error instanceof SalvageError, String(error));
      return error;
    });
    const channel = {
      input: toHost,
      output: toKeeper,
      onConnected: () => {},
      explainEnd: async () => await Promise.resolve(new Error('ended')),
      async close() {
        toKeeper.end();
        await pulling;
      },
    };
    const client = await ServeClient.connect(channel, '/');
    const refused = new Map<string, string>();
    for (const [name, bytes] of objects)
      try {
        await client.create(name, bytes.length, [bytes]);
      } catch (error) {
        assert.ok(error instanceof Refusal, String(error));
        refused.set(name, error.message);
      }
    await client.close();
    return { result: await pulling, refused, notices, keeper };
  }

  const find = (objects: Objects, pattern: RegExp): string =>
    [...objects.keys()].find((name) => pattern.test(name))!;
  const signatures = async (keeper: Storage): Promise<number> => {
    let count = 0;
    for await (const { name } of keeper.list('')) if (name.endsWith('.sig')) count++;
    return count;
  };

  test('what an honest host sends is taken', async () => {
    const { result, refused, keeper } = await offer(inOrder(second));
    assert.deepEqual([...refused], []);
    assert.ok(!(result instanceof SalvageError));
    assert.equal(result.snapshots.length, 2);
    assert.equal(await signatures(keeper), 2);
  });

  for (const pattern of [/^packs\//, /^index\//, /root\.age$/, /snapshot\.json$/, /SHA256SUMS$/])
    for (const how of ['left out', 'altered', 'empty'] as const)
      test(`${pattern.source} ${how}: no snapshot`, async () => {
        const objects = new Map(first);
        const name = find(objects, pattern);
        const altered = Buffer.from(objects.get(name)!);
        altered[altered.length >> 1]! ^= 1;
        if (how === 'left out') objects.delete(name);
        else objects.set(name, how === 'altered' ? altered : Buffer.alloc(0));
        const { result, refused, keeper } = await offer(inOrder(objects));
        assert.ok(result instanceof SalvageError);
        assert.match(result.code, /^(?:damaged|bad-signature)$/);
        assert.match([...refused.values()].join(), /does not accept the snapshot/);
        assert.equal(await signatures(keeper), 0);
      });

  test('a signature by another key, of another document, or none', async () => {
    const sig = find(first, /\.sig$/);
    await box.shell(`ssh-keygen -q -t ed25519 -N '' -f other; cp repo/${sig.slice(0, -4)} list
      ssh-keygen -q -Y sign -n salvage-snapshot -f other list; mv list.sig other.sig
      ssh-keygen -q -Y sign -n salvage-archive -f .home/.config/salvage/signing-key list`);
    const second2 = second.get([...second.keys()].filter((name) => name.endsWith('.sig')).at(-1)!)!;
    for (const forged of [
      box.read('other.sig'),
      box.read('list.sig'),
      second2,
      Buffer.from('none'),
      Buffer.alloc(0),
      Buffer.alloc(5_000_000, 65),
    ]) {
      const { result, refused, keeper } = await offer(inOrder(new Map([...first, [sig, forged]])));
      assert.ok(refused.has(sig));
      assert.equal(await signatures(keeper), 0);
      if (forged.length < 1_000_000) assert.ok(result instanceof SalvageError);
    }
    const { result } = await offer(
      inOrder(first),
      new MemoryStorage(),
      `web-1 ${box.read('other.pub').toString()}`,
    );
    assert.ok(result instanceof SalvageError);
    assert.equal(result.code, 'bad-signature');
  });

  test('a fork of the chain, a replay, another repository', async () => {
    const { keeper } = await offer(inOrder(second));
    const fork = await box.shell(`rm -r .home/.cache; mv .home/.cache-fork .home/.cache
      echo forked >> src/file; salvage backup --repo fork src`);
    assert.equal(fork.code, 0, fork.stderr);
    const sameNumber = await offer(inOrder(readObjects(box.path('fork'))), keeper);
    assert.match([...sameNumber.refused.values()].join(), /does not go on from/);
    await box.shell('echo again >> src/file; salvage backup --repo fork src');
    const branch = readObjects(box.path('fork'));
    for (const name of branch.keys()) if (name.startsWith('snapshots/00000002')) branch.delete(name);
    const nextNumber = await offer(inOrder(branch), keeper);
    assert.match([...nextNumber.refused.values()].join(), /names another snapshot before it/);
    assert.equal(await signatures(keeper), 2);
    await box.shell('salvage init --repo else -R id.pub --name web-1; salvage backup --repo else src');
    const elsewhere = readObjects(box.path('else'));
    elsewhere.delete('repository.json');
    const home = new MemoryStorage();
    await home.create('repository.json', [first.get('repository.json')!]);
    const other = await offer(inOrder(elsewhere), home);
    assert.match([...other.refused.values()].join(), /belongs to another repository/);
    assert.equal(await signatures(home), 0);
  });

  test('a gap in the chain is told', async () => {
    const objects = new Map(second);
    const keeper = new MemoryStorage();
    await offer(inOrder(first), keeper);
    await box.shell('echo third >> src/file; salvage backup --repo repo src --force');
    const third = readObjects(box.path('repo'));
    for (const name of objects.keys()) if (name.startsWith('snapshots/00000002')) third.delete(name);
    const { notices, refused } = await offer(inOrder(third), keeper);
    assert.deepEqual([...refused], []);
    assert.match(notices.join(), /\d between them are not in this repository/);
  });
});
