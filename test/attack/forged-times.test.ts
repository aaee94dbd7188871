// A host that was broken into tries to have its good snapshots forgotten: with many new ones, with forged times of its own,
// with forged times in storage.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  executeForget,
  planForget,
  forgettable,
  type ForgetPlan,
} from '../../src/operation/forget/forget.ts';
import type { RetentionPolicy } from '../../src/operation/forget/retention-policy.ts';
import { sequenceOf } from '../../src/repository/ids.ts';
import { LocalStorage } from '../../src/storage/local/local-storage.ts';
import { AttackedRepository } from '../support/attacked-repository.ts';
import { handMadePrincipal, HandMadeRepository } from '../support/hand-made-repository.ts';

const daily: RetentionPolicy = {
  last: 0,
  hourly: 0,
  daily: 5,
  weekly: 0,
  monthly: 0,
  yearly: 0,
  withinMs: 0,
  labels: [],
};
const dayMs = 86_400_000;

class Fleet {
  readonly attacked: AttackedRepository;
  readonly #root: string;

  constructor(attacked: AttackedRepository, root: string) {
    this.attacked = attacked;
    this.#root = root;
  }

  static async create(t: TestContext): Promise<Fleet> {
    const folder = mkdtempSync(join(tmpdir(), 'salvage-times-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const root = join(folder, 'repository');
    const storage = new LocalStorage(root);
    return new Fleet(new AttackedRepository(storage, await HandMadeRepository.create(storage), folder), root);
  }

  /** A snapshot that says of itself that it is of `time`, and of which storage says that it came at `received`. */
  async snapshot(time: Date, received: Date): Promise<void> {
    const { id } = await this.attacked.repository.snapshot([], { time });
    utimesSync(join(this.#root, 'snapshots', id, 'SHA256SUMS.sig'), received, received);
  }

  /** What the keeper would do. With `execute` it does it. */
  async plan(execute = false, maxRemove = 0.5): Promise<ForgetPlan> {
    const { storage, repository, clock } = this.attacked;
    using session = await this.attacked.session();
    const options = {
      storage,
      session,
      trusted: { allowedSigners: repository.allowedSigners, principal: handMadePrincipal },
      policy: daily,
      maxRemove,
      now: clock.now(),
      signal: new AbortController().signal,
    };
    const plan = await planForget(options);
    if (execute) await executeForget(plan, options);
    return plan;
  }
}

function goes(plan: ForgetPlan): number[] {
  return forgettable(plan).map(({ id }) => sequenceOf(id));
}

test('many snapshots with times over many days, stored in one night, push nothing out', async (t) => {
  const fleet = await Fleet.create(t);
  const today = fleet.attacked.clock.now().getTime();
  for (let day = 4; day > 0; day--)
    await fleet.snapshot(new Date(today - day * dayMs), new Date(today - day * dayMs));
  assert.deepEqual(goes(await fleet.plan(true)), []);
  for (let day = 0; day < 10; day++) await fleet.snapshot(new Date(today - day * dayMs), new Date(today));
  // Nine of the ten go, and none of the good ones; that so many go at once is refused all the same.
  assert.deepEqual(goes(await fleet.plan()), [5, 6, 7, 8, 9, 10, 11, 12, 13]);
  await assert.rejects(
    fleet.plan(true),
    /Cannot forget 9 of 14 snapshots: that is more than the 50 % allowed/,
  );
});

test('times in the future keep nothing out, neither of the host nor of storage', async (t) => {
  const fleet = await Fleet.create(t);
  const today = fleet.attacked.clock.now().getTime();
  for (let day = 4; day > 0; day--)
    await fleet.snapshot(new Date(today - day * dayMs), new Date(today - day * dayMs));
  await fleet.plan(true);
  for (let day = 1; day < 8; day++)
    await fleet.snapshot(new Date(today + day * dayMs), new Date(today + day * dayMs));
  const plan = await fleet.plan();
  assert.deepEqual(goes(plan), [5, 6, 7, 8, 9, 10]);
  for (const { snapshot } of plan.decisions)
    assert.ok(snapshot.received.getTime() <= fleet.attacked.clock.now().getTime());
});

test('what storage says is believed only within what the keeper has seen for itself', async (t) => {
  const fleet = await Fleet.create(t);
  const today = fleet.attacked.clock.now().getTime();
  for (let day = 4; day > 0; day--)
    await fleet.snapshot(new Date(today - day * dayMs), new Date(today - day * dayMs));
  await fleet.plan(true);
  // Over plain SFTP a host can set the times of what it stored: it makes the good ones old, and its own ones old as well.
  for (const number of [1, 2, 3, 4]) {
    const [sig] = [...(await fleet.attacked.copyAll(`snapshots/0000000${number}`)).keys()].filter((name) =>
      name.endsWith('.sig'),
    );
    const old = new Date(today - 100 * dayMs);
    const storage = fleet.attacked.storage as LocalStorage;
    utimesSync(join(storage.objectsFolder!, sig!), old, old);
  }
  for (let day = 10; day > 5; day--)
    await fleet.snapshot(new Date(today - day * dayMs), new Date(today - day * dayMs));
  assert.deepEqual(goes(await fleet.plan()), [5, 6, 7, 8]);
});
