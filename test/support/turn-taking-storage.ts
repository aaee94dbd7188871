// Several actors on one storage, one call at a time, in an order that the test chooses: races without chance.
import { SalvageError } from '../../src/errors/salvage-error.ts';
import type { StagedObject, StageSpec } from '../../src/storage/staged-object.ts';
import { StorageDecorator } from '../../src/storage/storage-decorator.ts';
import type { ByteRange, CreateResult, ObjectStat, Storage } from '../../src/storage/storage.ts';

/** What becomes of a call: it happens; nothing happens and it fails; it happens and seems to fail; the actor dies before it. */
export type Outcome = 'done' | 'error' | 'lost-reply' | 'crash';

interface WaitingCall {
  readonly actor: string;
  readonly call: string;
  readonly go: (outcome: Outcome) => void;
}

export class Turns {
  /** What is to happen next, for the test to choose from. */
  readonly waiting: WaitingCall[] = [];
  #active = 0;

  /** Runs an actor; its calls through `TurnTakingStorage` of this name wait for their turns. */
  start(work: () => Promise<void>): Promise<void> {
    this.#active++;
    return work().finally(() => this.#active--);
  }

  get isIdle(): boolean {
    return this.#active === 0;
  }

  /** Until every actor waits for its turn or has ended. */
  async settle(): Promise<void> {
    while (this.waiting.length < this.#active) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets the call happen that stands there. */
  take(index: number, outcome: Outcome): WaitingCall {
    const [call] = this.waiting.splice(index, 1);
    call!.go(outcome);
    return call!;
  }

  wait(actor: string, call: string): Promise<Outcome> {
    return new Promise((go) => this.waiting.push({ actor, call, go }));
  }
}

/** One actor's view of a storage. After a crash every call fails, and nothing happens any more. */
export class TurnTakingStorage extends StorageDecorator {
  readonly #turns: Turns;
  readonly #actor: string;
  #isDead = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(inner: Storage, turns: Turns, actor: string) {
    super(inner);
    this.#turns = turns;
    this.#actor = actor;
  }

  override get stageSpec(): StageSpec {
    return { kind: 'transfer' };
  }

  override create(name: string, body: readonly Uint8Array[]): Promise<CreateResult> {
    return this.#call(`create ${name}`, () => this.inner.create(name, body));
  }

  override createFromStream(): Promise<CreateResult> {
    throw new Error('not used');
  }

  override createStaged(staged: StagedObject): Promise<CreateResult> {
    return this.#call(`create ${staged.name}`, () => this.inner.createStaged(staged));
  }

  override read(name: string, range?: ByteRange): Promise<Uint8Array | undefined> {
    return this.#call(`read ${name}`, () => this.inner.read(name, range));
  }

  override stat(name: string): Promise<ObjectStat | undefined> {
    return this.#call(`stat ${name}`, () => this.inner.stat(name));
  }

  /** In two halves, each of its own time. */
  override async *list(prefix: string): AsyncGenerator<ObjectStat> {
    const first = await this.#call(`list ${prefix}`, () => collect(this.inner.list(prefix)));
    const half = first.slice(0, first.length >>> 1);
    yield* half;
    const after = half.at(-1)?.name ?? '';
    if (first.length === 0) return;
    const rest = await this.#call(`list ${prefix} on`, () => collect(this.inner.list(prefix)));
    yield* rest.filter(({ name }) => name > after);
  }

  override remove(name: string): Promise<'removed' | 'absent'> {
    return this.#call(`remove ${name}`, () => this.inner.remove(name));
  }

  override close(): Promise<void> {
    return Promise.resolve();
  }

  /** One at a time for each actor, so that what waits is known. */
  async #call<T>(call: string, work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      if (this.#isDead) throw broken(call);
      const outcome = await this.#turns.wait(this.#actor, call);
      if (outcome === 'crash') this.#isDead = true;
      if (outcome === 'crash' || outcome === 'error') throw broken(call);
      const result = await work();
      if (outcome === 'lost-reply') throw broken(call);
      return result;
    });
    this.#last = turn.catch(() => {});
    return await turn;
  }
}

function broken(call: string): SalvageError {
  return new SalvageError('failed', `Cannot ${call}: on purpose`);
}

async function collect(list: AsyncIterable<ObjectStat>): Promise<ObjectStat[]> {
  const all: ObjectStat[] = [];
  for await (const stat of list) all.push(stat);
  return all;
}
