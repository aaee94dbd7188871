import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { Shard } from '../../operation/shard.ts';
import { countBeyondHealing, packsToHeal } from '../../operation/verify/damage-reach.ts';
import type { Trouble } from '../../operation/verify/trouble.ts';
import { verify, type VerifyResult } from '../../operation/verify/verify.ts';
import { formatSize } from '../../ui/size.ts';
import type { FoundHandover } from '../../operation/handover.ts';
import type { CliContext } from '../context.ts';
import { checkFleet } from '../fleet.ts';
import { JsonEvents } from '../json-events.ts';
import { keepProcessSmall } from '../keep-process-small.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { requestHealing } from '../request-healing.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';
import { readTrustedKeeper } from '../signer-options.ts';
import { parseNumber } from '../option-values.ts';
import { parseShard } from '../parse-shard.ts';
import { count } from '../../ui/count.ts';

/** What its options are, for whoever starts it otherwise than by its command line. */
export interface VerifyFlags extends ReadingFlags {
  readonly readData?: string | true;
  readonly shard?: Shard;
  readonly threads?: string;
  readonly json?: boolean;
  readonly root?: string;
  readonly requestHealing?: string | true;
  readonly signingKey?: string;
}

export const examples: readonly string[] = [
  'salvage verify --repo /backup/web-1 --allowed-signers allowed_signers --signer web-1',
  'salvage verify --repo /backup/web-1 --allowed-signers allowed_signers --signer web-1 --read-data',
  'salvage verify --root /backup --allowed-signers allowed_signers --read-data=5%',
];

export function register(program: Command, context: CliContext): void {
  const identities = addReadingFlags(program);
  program
    .option(
      '--read-data [share]',
      'read everything that is stored and compare SHA-256; 10%: a tenth, chosen by chance',
    )
    .option(
      '--shard <i/n>',
      'with --read-data: read the i-th of n shares of what is stored, for several that verify at once',
      parseShard,
    )
    .option(
      '--root <url>',
      'every repository below this place, in place of --repo: ROOT/web-1 must be signed by "web-1", or by --signer',
    )
    .option(
      '--request-healing [folder]',
      'ask the host to store anew what packs that are damaged or missing held: a signed request in the repository, or in FOLDER to be carried there',
    )
    .option(
      '--signing-key <file>',
      'sign the request with this key (default: one of salvage, made if there is none)',
    )
    .option('--threads <number>', 'read on so many threads')
    .option('--json', 'print what is found as it is found and then the summary, one JSON object to a line')
    .action((options: VerifyFlags) => run(options, identities, context));
}

async function run(options: VerifyFlags, flags: readonly IdentityFlag[], context: CliContext): Promise<void> {
  if (options.root === undefined) {
    await runVerify(options, flags, context);
    return;
  }
  if (
    options.repo !== undefined ||
    flags.length > 0 ||
    options.threads !== undefined ||
    options.shard !== undefined ||
    options.requestHealing !== undefined
  )
    throw new SalvageError(
      'usage',
      'Cannot verify all repositories below --root with --repo, --shard, --threads, --request-healing or an identity: they are for one',
    );
  await checkFleet(options, parseShare(options.readData, false), context);
}

/** One repository. Returns what `--json` says in its summary. @throws as the command */
export async function runVerify(
  options: VerifyFlags,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<object> {
  const { terminal, signal } = context;
  const opens = flags.length > 0;
  const readShare = parseShare(options.readData, opens);
  if (options.shard && (opens || options.readData === undefined))
    throw new SalvageError('usage', 'Cannot share out a verification that reads no data, or opens it', {
      hint: 'Use --shard with --read-data and without an identity.',
    });
  const reader = await RepositoryReader.open(options, flags, context);
  const { storage, trusted, heads, identities } = reader;
  if (!trusted)
    throw new SalvageError('usage', 'Cannot verify: nobody said whose signatures to trust', {
      hint: 'Give --allowed-signers FILE and --signer HOST; the file must not come from the repository.',
    });
  keepProcessSmall();
  const progress = terminal.startProgress('verifying');
  const events = new JsonEvents(options.json ?? false, context, 'objects');
  let result: VerifyResult;
  try {
    result = await verify(
      storage,
      {
        trusted,
        keeper: readTrustedKeeper(options, context),
        remembered: (repository) => heads.read(repository),
        seenHere: heads.at(storage.description),
        readShare,
        ...(options.shard && { shard: options.shard }),
        ...(opens && { identities }),
        ...(options.threads !== undefined && { threads: parseNumber(options.threads, '--threads', 1, 64) }),
      },
      {
        onTrouble(trouble) {
          terminal.warning(trouble.message);
          events.emit('trouble', trouble);
        },
        onTotal: (bytes, objects) => progress.setTotal(bytes, objects),
        onProgress(bytes, objects) {
          progress.advance(bytes, objects);
          events.advance(bytes, objects);
        },
      },
      signal,
    );
  } finally {
    progress.end();
  }
  const isClean = result.troubles.length === 0;
  if (isClean && result.head) heads.write(result.head, storage.description);
  const requests =
    options.requestHealing === undefined
      ? undefined
      : await requestHealing(storage, result, options, context);
  const summary = { ...asJson(result), ...(requests && { requests }) };
  await events.end(summary);
  if (!options.json) report(result, context);
  if (!isClean) throw found(result.troubles);
  return summary;
}

/** A hand-over is told, and what follows from it is left to the auditor. */
function describeHandover(handover: FoundHandover, terminal: CliContext['terminal']): void {
  const { host, time, after, oldFingerprint, newFingerprint, isOldTrusted, isNewTrusted } = handover;
  const since = after ? `, after snapshot ${after.id}` : '';
  if (isOldTrusted && isNewTrusted) {
    terminal.detail(
      `${host} went over from the key ${oldFingerprint} to ${newFingerprint} at ${time}${since}`,
    );
    return;
  }
  terminal.info(
    `At ${time}${since}, somebody with the key ${oldFingerprint} said that ${host} signs with ${newFingerprint} from then on.`,
  );
  terminal.info(
    isOldTrusted
      ? 'You list the old key for this host. Whoever had stolen it could say the same: ask the people of the host, then list these in place of its line:'
      : 'You do not list the old key for this host, so this says nothing. Should its people confirm it, these are the lines:',
  );
  for (const line of handover.allowedSigners) terminal.info(`  ${line}`);
}

function report(result: VerifyResult, { terminal }: CliContext): void {
  const {
    snapshots,
    objects,
    unfinished,
    unlisted,
    objectsRead,
    bytesRead,
    blobs,
    troubles,
    head,
    damagedSnapshots,
  } = result;
  const read = objectsRead > 0 ? `, ${objectsRead} of them read (${formatSize(bytesRead)})` : '';
  const opened = blobs > 0 ? `, ${blobs} blobs opened` : '';
  terminal.info(
    `${count(snapshots, 'snapshot')} with good signatures; ${count(objects, 'object')}${read}${opened}`,
  );
  for (const handover of result.handovers) describeHandover(handover, terminal);
  if (result.forgotten > 0)
    terminal.info(`${count(result.forgotten, 'snapshot')} removed by the keeper, as its signed records say`);
  if (result.recordsUnchecked)
    terminal.warning(
      'The records of what a keeper removed were not looked at: nobody said which keeper to trust',
      'add its line to the allowed signers: NAME namespaces="salvage-keeper" ssh-ed25519 …',
    );
  if (unfinished > 0)
    terminal.info(
      `${count(unfinished, 'unfinished snapshot')} without a signature: harmless, the next backup goes on`,
    );
  if (unlisted > 0)
    terminal.info(`${count(unlisted, 'object')} that no snapshot lists: harmless, prune removes them`);
  if (damagedSnapshots.length > 0 && head && damagedSnapshots.at(-1) !== head.snapshot)
    terminal.info(
      `The newest snapshot, ${head.snapshot}, needs nothing of what is damaged. These do: ${listSome(damagedSnapshots)}`,
    );
  const { indexes, snapshots: hurt } = countBeyondHealing(troubles);
  if (indexes > 0)
    terminal.info(
      `${count(indexes, 'index object')} damaged or missing: no host can make that good, and nothing that is restored needs it. A host that loses its cache stores anew what only that lists`,
    );
  if (hurt > 0)
    terminal.info(
      `Of ${count(hurt, 'snapshot')} the own files are damaged or missing: no host can make that good, but another copy of the repository has them`,
      'salvage copy --repair COPY THIS-REPOSITORY, after removing what is changed',
    );
  if (troubles.length === 0 && head) terminal.info(`Clean. The newest snapshot is ${head.snapshot}`);
  else if (troubles.length === 0) terminal.info('Clean: there are no snapshots yet');
}

function asJson({ head, troubles, ...numbers }: VerifyResult): object {
  return { clean: troubles.length === 0, ...numbers, head: head ?? null, troubles: troubles.length };
}

function found(troubles: readonly Trouble[]): SalvageError {
  const onlyUnreadable = troubles.every(({ kind }) => kind === 'unreadable');
  return new SalvageError(
    onlyUnreadable ? 'failed' : 'damaged',
    `Cannot call the repository clean: ${count(troubles.length, 'thing')} found, each named above`,
    {
      hint: onlyUnreadable
        ? 'Verify again when storage answers.'
        : `What can still be restored is restored by "salvage restore"; ${packsToHeal(troubles).length > 0 ? '"salvage verify --request-healing" asks the host to store anew what it still has of packs' : '"salvage copy --repair" brings back from another copy what is damaged here'}.`,
    },
  );
}

function parseShare(given: string | true | undefined, opens: boolean): number {
  if (given === undefined) return opens ? 1 : 0;
  if (given === true) return 1;
  const percent = Number(/^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(given)?.[1]);
  if (!(percent > 0 && percent <= 100))
    throw new SalvageError('usage', `Cannot use --read-data=${given}: give a share such as 10%`);
  return percent / 100;
}

function listSome(snapshots: readonly string[]): string {
  const shown = snapshots.slice(0, 10).join(', ');
  return snapshots.length > 10 ? `${shown} and ${snapshots.length - 10} more` : shown;
}
