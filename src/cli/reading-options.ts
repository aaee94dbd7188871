import type { Command } from 'commander';
import type { Identity } from '../age/recipient.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import {
  asSnapshotId,
  listSnapshots,
  readRepositoryJson,
  selectSnapshot,
} from '../operation/open-repository.ts';
import { openSnapshot, type OpenSnapshot } from '../operation/open-snapshot.ts';
import { forgottenSnapshots, readKeeperHistory } from '../operation/keeper/keeper-records.ts';
import { labelIn, newestLabelled } from '../operation/reading/newest-labelled.ts';
import { describeRemoval, listRemovedSnapshots } from '../operation/reading/removed-snapshots.ts';
import { RewrappedObjects, type RewrapTrust } from '../operation/reading/rewrapped-objects.ts';
import { SealedObjects } from '../operation/reading/sealed-objects.ts';
import {
  readSignedSnapshot,
  snapshotTime,
  type SignedSnapshot,
  type TrustedSigners,
} from '../operation/reading/signed-snapshot.ts';
import { RememberedHeads } from '../operation/verify/remembered-heads.ts';
import { sequenceOf, type SnapshotId } from '../repository/ids.ts';
import { packName } from '../repository/layout.ts';
import type { Storage } from '../storage/storage.ts';
import type { CliContext } from './context.ts';
import {
  addIdentityFlags,
  addPassphraseFlags,
  passphraseRequester,
  type IdentityFlag,
  type PassphraseFlags,
} from './key-flags.ts';
import { addRepositoryFlag, openRepositoryStorage, type RepositoryFlag } from './repository-options.ts';
import { resolveIdentities } from './resolve-keys.ts';
import {
  addKeeperFlag,
  addSignerFlags,
  readTrustedKeeper,
  readTrustedSigners,
  type SignerFlags,
} from './signer-options.ts';
import { stateFolder } from './state-folder.ts';

/** What addReadingFlags puts among the options of a command. */
export interface ReadingFlags extends RepositoryFlag, PassphraseFlags, SignerFlags {
  readonly state?: string;
}

/** Adds what all commands have in common that read a repository. Returns the list that -i and -j fill. */
export function addReadingFlags(program: Command): IdentityFlag[] {
  addRepositoryFlag(program);
  const identities = addIdentityFlags(program);
  addPassphraseFlags(program);
  addSignerFlags(program);
  addKeeperFlag(program);
  program.option(
    '--state <folder>',
    'where the newest snapshots seen are remembered (default: $XDG_STATE_HOME/salvage/heads)',
  );
  return identities;
}

/** A repository to read from, with what its reader brings. */
export class RepositoryReader {
  readonly storage: Storage;
  readonly identities: readonly Identity[];
  readonly objects: SealedObjects;
  /** Undefined: nobody said whose signatures to trust. */
  readonly trusted: TrustedSigners | undefined;
  readonly heads: RememberedHeads;
  readonly #context: CliContext;
  readonly #keeper: RewrapTrust;
  /** Set when `latest` or `latest:LABEL` was looked for. */
  #newest: SnapshotId | undefined;

  static async open(
    flags: ReadingFlags,
    identityFlags: readonly IdentityFlag[],
    context: CliContext,
  ): Promise<RepositoryReader> {
    const { storage } = await openRepositoryStorage(flags, context);
    return new RepositoryReader(storage, flags, identityFlags, context);
  }

  private constructor(
    storage: Storage,
    flags: ReadingFlags,
    identityFlags: readonly IdentityFlag[],
    context: CliContext,
  ) {
    this.#context = context;
    this.storage = storage;
    this.trusted = readTrustedSigners(flags, context);
    this.heads = new RememberedHeads(flags.state ?? stateFolder('heads', context));
    this.identities = resolveIdentities(identityFlags, passphraseRequester(flags, context), context);
    this.#keeper = this.#rewrapTrust(flags);
    const rewrapped = new RewrappedObjects(storage, this.#keeper, context.signal);
    this.objects = new SealedObjects(storage, this.identities, context.signal, rewrapped, { healed: true });
  }

  /** Whose records of rewrapping stand for what a host signed. Who does not check hosts has nobody checked. */
  #rewrapTrust(flags: ReadingFlags): RewrapTrust {
    if (!this.trusted) return 'anybody';
    if (flags.keeper !== undefined) return readTrustedKeeper(flags, this.#context) ?? 'nobody';
    try {
      return readTrustedKeeper(flags, this.#context) ?? 'nobody';
    } catch (error) {
      // More than one is listed: that must not keep anybody from reading what was never rewrapped.
      if (error instanceof SalvageError && error.code === 'usage') return 'nobody';
      throw error;
    }
  }

  /** @throws usage if no identity was given */
  requireIdentity(): void {
    if (this.identities.length > 0) return;
    throw new SalvageError('usage', 'Cannot open the repository: no identity is given', {
      hint: 'Name the private key of one of its recipients, with -i FILE.',
    });
  }

  /**
   * The snapshot's signed list, its signature checked if there are signers to check it by, and said plainly if not.
   * @throws usage, no-repository, bad-signature, damaged; damaged for `latest` if a newer one was seen here before
   */
  async signed(selector: string): Promise<SignedSnapshot> {
    const { storage } = this;
    const { signal } = this.#context;
    this.#newest = undefined;
    const id = asSnapshotId(selector) ?? (await this.#select(selector));
    const signed = await readSignedSnapshot(storage, id, this.trusted, snapshotTime(id), signal);
    if (signed.signature.state === 'unchecked')
      this.#context.terminal.warning(
        `The signature of snapshot ${id} was not checked: nobody said whose signatures to trust`,
        'give --allowed-signers FILE and --signer HOST',
      );
    return signed;
  }

  /**
   * The snapshot with its private half. With `whole`, all of it is going to be read.
   * @throws as `signed`, no-identity-match
   */
  async open(selector: string, { whole = false }: { whole?: boolean } = {}): Promise<OpenSnapshot> {
    this.requireIdentity();
    const signed = await this.signed(selector);
    if (whole) this.objects.expect(signed.checksums.packs.map(packName));
    const snapshot = await this.openSigned(signed);
    this.#compareHead(snapshot);
    return snapshot;
  }

  async openSigned(signed: SignedSnapshot): Promise<OpenSnapshot> {
    return await openSnapshot(this.storage, signed, this.objects, this.#context.signal);
  }

  async #select(selector: string): Promise<SnapshotId> {
    const { committed } = await listSnapshots(this.storage, this.#context.signal);
    // What tells an empty repository from none.
    if (committed.length === 0) await readRepositoryJson(this.storage, this.#context.signal);
    const removed = await listRemovedSnapshots(this.storage, this.#context.signal);
    // Retention never removes the newest one: that is somebody's attempt to have an older one restored.
    const last = removed.at(-1);
    const newest = committed.at(-1);
    if (last && (!newest || last.id > newest.id)) this.#context.terminal.warning(describeRemoval(last));
    const label = labelIn(selector);
    this.#newest = label !== undefined || selector === 'latest' ? newest?.id : undefined;
    if (label === undefined) return selectSnapshot(committed, selector);
    const tagsOf = async (signed: SignedSnapshot): Promise<readonly string[]> =>
      (await this.openSigned(signed)).root.tags;
    const reading = { trusted: this.trusted, tagsOf: this.identities.length > 0 ? tagsOf : undefined };
    const id = await newestLabelled(this.storage, committed, label, reading, this.#context.signal);
    await this.#tellGap(id, new Set(committed.map((snapshot) => sequenceOf(snapshot.id))));
    return id;
  }

  /** What is not there any more may have had the label, too. */
  async #tellGap(id: SnapshotId, present: ReadonlySet<number>): Promise<void> {
    const [from, to] = [sequenceOf(id), sequenceOf(this.#newest!)];
    const isBetween = (sequence: number): boolean => sequence > from && sequence <= to;
    let missing = to - from - [...present].filter(isBetween).length;
    if (missing === 0) return;
    if (typeof this.#keeper === 'object') {
      const { storage } = this;
      const { signal } = this.#context;
      const { id: repository } = await readRepositoryJson(storage, signal);
      const { records } = await readKeeperHistory(storage, repository, this.#keeper, signal);
      const forgotten = [...forgottenSnapshots(records).keys()];
      missing -= forgotten.filter((sequence) => isBetween(sequence) && !present.has(sequence)).length;
    }
    if (missing > 0)
      this.#context.terminal.warning(
        `${missing} of the snapshots after ${id} ${missing === 1 ? 'is' : 'are'} gone, and no trusted keeper says why`,
        'a newer one with this label may be among them: salvage verify tells more',
      );
  }

  #compareHead({ signed, root }: OpenSnapshot): void {
    const head = this.heads.read(root.repository);
    if (!head || !this.#newest || sequenceOf(this.#newest) >= head.sequence) return;
    throw new SalvageError(
      'damaged',
      `Cannot take ${signed.id} for the latest snapshot: number ${head.sequence} (${head.snapshot}) was seen here before, and storage does not show it any more`,
      { hint: `To use this one all the same, name it: ${signed.id}` },
    );
  }
}
