// What every attack on a repository needs: a good repository, hands that change what is stored, a keeper, and a verifier
// that must notice. `attackTest` runs an attack against each kind of storage.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Clock } from '../../src/clock/clock.ts';
import { executeForget, planForget } from '../../src/operation/forget/forget.ts';
import { keeperNamespace } from '../../src/operation/keeper/keeper-records.ts';
import { KeeperSession } from '../../src/operation/keeper/keeper-session.ts';
import { prune, type PruneOptions, type PruneResult } from '../../src/operation/prune/prune.ts';
import type { RememberedHead } from '../../src/operation/verify/remembered-heads.ts';
import type { TroubleKind } from '../../src/operation/verify/trouble.ts';
import { verify, type VerifyResult } from '../../src/operation/verify/verify.ts';
import { parseAllowedSigners } from '../../src/ssh/allowed-signers.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { formatPublicKey } from '../../src/ssh/public-key.ts';
import { privateKeySigner, type Signer } from '../../src/ssh/signer.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { handMadePrincipal, type HandMadeFile, type HandMadeRepository } from './hand-made-repository.ts';

const never = new AbortController().signal;

export interface VerifySettings {
  /** What the verifier remembers. */
  readonly remembered?: RememberedHead | undefined;
  /** In place of the host's own line. */
  readonly allowedSigners?: string;
  /** Look at signatures, chain and existence only. */
  readonly withoutData?: boolean;
  readonly withIdentity?: boolean;
  /** Trust no keeper. */
  readonly withoutKeeper?: boolean;
}

/** Somebody who has the storage and is not salvage: nothing is checked, and no condition is kept. */
export interface Attacker {
  /** In place of what there is under the name. */
  put(name: string, bytes: Uint8Array): Promise<void>;
  remove(name: string): Promise<void>;
}

/** Where salvage's own calls are all that it takes. */
export function plainAttacker(storage: Storage): Attacker {
  return {
    async put(name, bytes) {
      await storage.remove(name);
      await storage.create(name, [bytes]);
    },
    async remove(name) {
      await storage.remove(name);
    },
  };
}

export class AttackedRepository {
  readonly storage: Storage;
  readonly repository: HandMadeRepository;
  readonly keeper: Signer = privateKeySigner(generateEd25519Key('keeper'));
  readonly #attacker: Attacker;
  readonly #stateFolder: string;
  #nowMs: number = Date.now();

  constructor(
    storage: Storage,
    repository: HandMadeRepository,
    folder: string,
    attacker: Attacker = plainAttacker(storage),
  ) {
    this.storage = storage;
    this.#attacker = attacker;
    this.repository = repository;
    this.#stateFolder = join(folder, 'keeper');
  }

  get clock(): Clock {
    return { now: () => new Date(this.#nowMs), monotonicMs: () => this.#nowMs };
  }

  passTime(hours: number): void {
    this.#nowMs += hours * 3_600_000;
  }

  /** Writes over an object. */
  async rewrite(name: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
    const bytes = await this.storage.read(name);
    assert.ok(bytes, `${name} is there`);
    await this.#attacker.put(name, change(Buffer.from(bytes)));
  }

  async remove(name: string): Promise<void> {
    await this.#attacker.remove(name);
  }

  async removeAll(prefix: string): Promise<void> {
    const names: string[] = [];
    for await (const { name } of this.storage.list(prefix)) names.push(name);
    await Promise.all(names.map((name) => this.remove(name)));
  }

  /** Everything that is stored, to be played back. */
  async copyAll(prefix = ''): Promise<Map<string, Uint8Array>> {
    const names: string[] = [];
    for await (const { name } of this.storage.list(prefix)) names.push(name);
    return new Map(
      await Promise.all(names.map(async (name) => [name, (await this.storage.read(name))!] as const)),
    );
  }

  async playBack(objects: ReadonlyMap<string, Uint8Array>): Promise<void> {
    await this.removeAll('');
    await this.bring(objects);
  }

  async bring(objects: Iterable<readonly [name: string, bytes: Uint8Array]>): Promise<void> {
    await Promise.all(Array.from(objects, ([name, bytes]) => this.#attacker.put(name, bytes)));
  }

  get allowedSigners(): string {
    const key = formatPublicKey(this.keeper.publicKey);
    return `${this.repository.allowedSignersText}keeper namespaces="${keeperNamespace}" ${key}\n`;
  }

  /** `shared`: beside others of them, and with no key. */
  async session(
    onNotice: (message: string) => void = () => {},
    { shared = false }: { readonly shared?: boolean } = {},
  ): Promise<KeeperSession> {
    const { storage, clock } = this;
    const own = parseAllowedSigners(`keeper ${formatPublicKey(this.keeper.publicKey)}\n`);
    const trusted = { allowedSigners: own, principal: 'keeper' };
    return await KeeperSession.open({
      storage,
      ...(shared ? { shared, trusted, signer: undefined } : { signer: this.keeper }),
      stateFolder: this.#stateFolder,
      clock,
      signal: never,
      onNotice,
    });
  }

  /** Leaves the newest of the snapshots. */
  async forget(keepLast = 1): Promise<readonly string[]> {
    using session = await this.session();
    const rest = { hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, withinMs: 0, labels: [] };
    const options = {
      storage: this.storage,
      session,
      trusted: { allowedSigners: parseAllowedSigners(this.allowedSigners), principal: handMadePrincipal },
      policy: { ...rest, last: keepLast },
      maxRemove: 1,
      now: this.clock.now(),
      signal: never,
    };
    return await executeForget(await planForget(options), options);
  }

  async prune(
    graceHours = 24,
    settings: Pick<PruneOptions, 'acceptMissing' | 'dryRun' | 'recordOnly' | 'rewrapped' | 'shard'> = {},
  ): Promise<PruneResult> {
    using session = await this.session(undefined, { shared: settings.shard !== undefined });
    return await prune({
      storage: this.storage,
      session,
      graceMs: graceHours * 3_600_000,
      ...settings,
      now: this.clock.now(),
      signal: never,
    });
  }

  async verify(settings: VerifySettings = {}): Promise<VerifyResult> {
    const allowedSigners = parseAllowedSigners(settings.allowedSigners ?? this.allowedSigners);
    return await verify(
      this.storage,
      {
        trusted: { allowedSigners, principal: handMadePrincipal },
        ...(!settings.withoutKeeper && { keeper: { allowedSigners, principal: 'keeper' } }),
        remembered: () => settings.remembered,
        seenHere: settings.remembered ? [settings.remembered] : [],
        readShare: settings.withoutData ? 0 : 1,
        ...(settings.withIdentity && { identities: [this.repository.identity] }),
        threads: 1,
      },
      { onTrouble: () => {}, onTotal: () => {}, onProgress: () => {} },
    );
  }

  /** What a verifier remembers that has just found everything good. */
  async remember(): Promise<RememberedHead> {
    const { troubles, head } = await this.verify({ withoutData: true });
    assert.deepEqual(troubles, []);
    return { ...head!, places: [] };
  }

  /** Exactly these troubles, in this order, in these words. */
  async finds(expected: readonly [TroubleKind, RegExp][], settings: VerifySettings = {}): Promise<void> {
    const { troubles } = await this.verify(settings);
    assert.deepEqual(
      troubles.map(({ kind }) => kind),
      expected.map(([kind]) => kind),
      JSON.stringify(troubles),
    );
    for (const [index, [, words]] of expected.entries()) assert.match(troubles[index]!.message, words);
  }
}

/** A file whose content is not that of any other. */
export function someFile(name: string, sizeBytes = 200_000): HandMadeFile {
  const content = Buffer.alloc(sizeBytes);
  for (let at = 0, state = name.length * 7919; at < sizeBytes; at++) {
    state = (Math.imul(state, 1664525) + 1013904223 + name.charCodeAt(at % name.length)) | 0;
    content[at] = state >>> 24;
  }
  const entry = {
    path: Buffer.from(name),
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    user: '',
    group: '',
    mtimeNs: 1_000_000_000n,
    size: sizeBytes,
  } as const;
  return { entry, content };
}

export function flipBit(at: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes[at]! ^= 1;
    return bytes;
  };
}
