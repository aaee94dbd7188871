import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBackupHost, runBackup, type BackupHost } from '../../../test/support/backup-host.ts';
import { FaultyStorage } from '../../../test/support/faulty-storage.ts';
import { parseHeader } from '../../age/header.ts';
import { X25519Identity } from '../../age/x25519.ts';
import { systemClock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { generateEd25519Key } from '../../ssh/encode-private-key.ts';
import type { PublicKey } from '../../ssh/public-key.ts';
import { privateKeySigner, type Signer } from '../../ssh/signer.ts';
import type { Storage } from '../../storage/storage.ts';
import { KeeperSession } from '../keeper/keeper-session.ts';
import { listSnapshots } from '../open-repository.ts';
import { openSnapshot } from '../open-snapshot.ts';
import { RewrappedObjects } from '../reading/rewrapped-objects.ts';
import { SealedObjects } from '../reading/sealed-objects.ts';
import { readSignedSnapshot, snapshotTime } from '../reading/signed-snapshot.ts';
import { rewrap, type RewrapResult } from './rewrap.ts';

const { signal } = new AbortController();

function listedAs(principals: string, key: PublicKey): Parameters<typeof readSignedSnapshot>[2] {
  const line = { namespaces: undefined, validAfter: undefined, validBefore: undefined, line: 1 };
  return { allowedSigners: [{ principals, key, certAuthority: false, ...line }], principal: principals };
}

interface Run {
  readonly storage?: Storage;
  readonly to?: X25519Identity;
  readonly by?: X25519Identity;
  readonly restorer: Signer;
  readonly before?: number;
}

async function run(
  host: BackupHost,
  { storage = host.storage, to, by, restorer, before }: Run,
): Promise<RewrapResult> {
  using session = await KeeperSession.open({
    storage,
    signer: restorer,
    stateFolder: join(host.folder, 'keeper'),
    clock: systemClock,
    signal,
    onNotice: (message) => assert.fail(message),
  });
  return await rewrap(
    {
      storage,
      session,
      trusted: listedAs('host', host.signer.publicKey)!,
      identities: [by ?? host.identity],
      recipients: [to!.recipient],
      recipientTexts: [to!.recipient.toString()],
      before,
      recordEvery: { objects: 2, bytes: Infinity },
      clock: systemClock,
      signal,
    },
    { onTrouble: assert.fail, onNotice: assert.fail, onTotal: () => {}, onProgress: () => {} },
  );
}

/** A repository of three snapshots. */
async function prepare(t: { after(callback: () => void): void }): Promise<BackupHost> {
  const host = await createBackupHost(t);
  for (const name of ['a', 'b', 'c']) {
    writeFileSync(join(host.folder, 'src', name), name.repeat(100_000));
    await runBackup(host);
  }
  return host;
}

/** Opens every tree with only this key. */
async function readAll(
  { storage, signer }: BackupHost,
  identity: X25519Identity,
  restorer: Signer,
): Promise<number> {
  let entries = 0;
  const { committed } = await listSnapshots(storage, signal);
  for (const { id } of committed) {
    const signed = await readSignedSnapshot(
      storage,
      id,
      listedAs('host', signer.publicKey),
      snapshotTime(id),
      signal,
    );
    const trust = listedAs('keeper', restorer.publicKey)!;
    const objects = new SealedObjects(
      storage,
      [identity],
      signal,
      new RewrappedObjects(storage, trust, signal),
    );
    const snapshot = await openSnapshot(storage, signed, objects, signal);
    for await (const { records } of snapshot.readTree()) entries += records.length;
  }
  return entries;
}

test('the payload stays as it is, byte for byte, and nothing that was there is touched', async (t) => {
  const host = await prepare(t);
  const restorer = privateKeySigner(generateEd25519Key('restorer'));
  const to = X25519Identity.generate();
  const before = new Map<string, string>();
  const payloads = new Map<string, string>();
  for await (const { name } of host.storage.list('')) {
    const bytes = (await host.storage.read(name))!;
    before.set(name, digestOf(bytes));
    if (name.endsWith('.age')) payloads.set(payloadDigest(bytes), name);
  }
  const { objects, troubles, unopened } = await run(host, { to, restorer });
  assert.equal(objects, payloads.size);
  assert.equal(troubles + unopened, 0);
  let found = 0;
  for await (const { name } of host.storage.list('')) {
    const bytes = (await host.storage.read(name))!;
    if (before.has(name)) assert.equal(digestOf(bytes), before.get(name), name);
    else if (name.endsWith('.age')) {
      assert.ok(name.endsWith(`${digestOf(bytes)}.age`), name);
      assert.equal(name.startsWith('index/'), payloads.get(payloadDigest(bytes))!.startsWith('index/'));
      found++;
    }
  }
  assert.equal(found, objects);
  assert.equal(await readAll(host, to, restorer), 9);
  // The host still reads its index, and whoever was a recipient everything.
  assert.equal(await readAll(host, host.identity, restorer), 9);
  await assert.rejects(readAll(host, X25519Identity.generate(), restorer), { code: 'no-identity-match' });
});

test('a run that failed anywhere goes on where it was, on a storage that removes nothing', async (t) => {
  const host = await prepare(t);
  const restorer = privateKeySigner(generateEd25519Key('restorer'));
  const to = X25519Identity.generate();
  let done: RewrapResult | undefined;
  let failures = 0;
  for (let creates = 3; !done; creates += 3) {
    let seen = 0;
    const storage = new FaultyStorage(host.storage, {
      plan: (_, call) => (call === 'remove' || (call === 'create' && ++seen > creates) ? 'error' : undefined),
    });
    try {
      done = await run(host, { storage, to, restorer });
    } catch (error) {
      assert.ok(error instanceof SalvageError, String(error));
      failures++;
    }
  }
  assert.ok(failures > 0);
  assert.ok(done.already > 0);
  assert.equal(await readAll(host, to, restorer), 9);
});

test('from one set of recipients to the next, though the first objects are gone', async (t) => {
  const host = await prepare(t);
  const restorer = privateKeySigner(generateEd25519Key('restorer'));
  const [second, third] = [X25519Identity.generate(), X25519Identity.generate()];
  const old: string[] = [];
  for await (const { name } of host.storage.list('')) if (name.endsWith('.age')) old.push(name);
  const { objects } = await run(host, { to: second, restorer });
  for (const name of old) await host.storage.remove(name);
  assert.equal((await run(host, { to: third, by: second, restorer })).objects, objects);
  assert.equal(await readAll(host, third, restorer), 9);
  assert.equal((await run(host, { to: third, by: third, restorer })).already, objects);
});

test('only what earlier snapshots need; what nobody opens is counted; what is damaged is named', async (t) => {
  const host = await prepare(t);
  const restorer = privateKeySigner(generateEd25519Key('restorer'));
  const to = X25519Identity.generate();
  const some = await run(host, { to, restorer, before: 2 });
  const rest = await run(host, { to, restorer });
  assert.equal(rest.already, some.objects);
  assert.ok(rest.objects > 0);
  await assert.rejects(run(host, { to, by: X25519Identity.generate(), restorer }), {
    code: 'no-identity-match',
  });
  // The chain of records is one: who does not know the one that is there writes none.
  const stranger = privateKeySigner(generateEd25519Key('stranger'));
  const error = await run({ ...host, folder: join(host.folder, 'other') }, { to, restorer: stranger }).catch(
    (error: unknown) => error,
  );
  assert.ok(error instanceof Error);
});

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function payloadDigest(bytes: Uint8Array): string {
  return digestOf(bytes.subarray(parseHeader(bytes).bytes.length));
}
