import { SalvageError, type ErrorCode } from '../errors/salvage-error.ts';
import { findRepositories } from '../operation/fleet/find-repositories.ts';
import {
  verifyFleet,
  type FleetFinding,
  type FleetMember,
  type FleetOptions,
} from '../operation/fleet/verify-fleet.ts';
import { RememberedHeads } from '../operation/verify/remembered-heads.ts';
import { openStorage } from '../storage/open-storage.ts';
import type { Storage } from '../storage/storage.ts';
import { formatDuration } from '../ui/duration.ts';
import { formatTable, type Column } from '../ui/table.ts';
import type { CliContext } from './context.ts';
import {
  readAllowedSigners,
  readRevokedKeys,
  readTrustedKeeper,
  type SignerFlags,
} from './signer-options.ts';
import { stateFolder } from './state-folder.ts';

export interface FleetFlags extends SignerFlags {
  readonly root?: string;
  readonly sshCommand?: string;
  readonly state?: string;
  readonly json?: boolean;
}

/** So many repositories at a time. */
const atOnce = 4;

/**
 * Verifies every repository below --root, reads a share of its data as `verify` does, and prints a row, or with --json an object, for each.
 * @throws usage; what is worst of what was found
 */
export async function checkFleet(flags: FleetFlags, readShare: number, context: CliContext): Promise<void> {
  const heads = rememberedHeads(flags, context);
  const members = await findMembers(flags, heads, context);
  const findings = await examineFleet(
    members,
    { heads, readShare },
    (message) => context.terminal.warning(message),
    context.signal,
  );
  const now = context.clock.now();
  if (flags.json)
    for (const finding of findings)
      await context.stdout.write(
        `${JSON.stringify({ ...findingJson(finding, now), state: stateOf(finding) })}\n`,
      );
  else
    await context.stdout.write(
      formatTable(
        [...fleetColumns, { title: 'STATE' }],
        findings.map((finding) => [...fleetCells(finding, now), stateOf(finding)]),
      ),
    );
  throwWorst(findings.map(codeOf));
}

/** Verifies them, and tells what is found by `warn`. */
export async function examineFleet(
  members: readonly FleetMember[],
  options: Omit<FleetOptions, 'atOnce'>,
  warn: (message: string) => void,
  signal: AbortSignal,
): Promise<FleetFinding[]> {
  return await verifyFleet(
    members,
    { ...options, atOnce },
    {
      onTrouble: (name, { message }) => warn(`${name}: ${message}`),
      onDone({ name, error }) {
        if (error) warn(`${name}: ${error.message}`);
      },
    },
    signal,
  );
}

export function rememberedHeads({ state }: FleetFlags, context: CliContext): RememberedHeads {
  return new RememberedHeads(state ?? stateFolder('heads', context));
}

/** What is below --root now, and what was there when last looked at. @throws usage; no-repository if that is nothing */
export async function findMembers(
  flags: FleetFlags,
  heads: RememberedHeads,
  context: CliContext,
): Promise<FleetMember[]> {
  const { root: given = '', sshCommand, signer } = flags;
  const allowedSigners = readAllowedSigners(flags, context);
  if (!allowedSigners)
    throw new SalvageError('usage', 'Cannot verify: nobody said whose signatures to trust', {
      hint: 'Give --allowed-signers FILE; a repository ROOT/web-1 must be signed by "web-1", or by the one that --signer names.',
    });
  const revoked = readRevokedKeys(flags.revokedSigners);
  const keeper = readTrustedKeeper(flags, context);
  const root = await openMember(given, sshCommand, context);
  let names: string[];
  try {
    names = await findRepositories(root, context.signal);
  } finally {
    await root.close();
  }
  const there = new Set(names);
  const before = `${root.description}/`;
  const gone = heads
    .all()
    .flatMap(({ places }) => places)
    .filter((place) => place.startsWith(before))
    .map((place) => place.slice(before.length))
    .filter((name) => !there.has(name));
  const all = [...names, ...new Set(gone)].sort();
  if (all.length === 0)
    throw new SalvageError('no-repository', `Cannot find a repository below "${given}": there is none`);
  return all.map((name) => ({
    name,
    trusted: {
      allowedSigners,
      ...(revoked && { revoked }),
      principal: signer ?? name.slice(name.lastIndexOf('/') + 1),
    },
    keeper,
    open: there.has(name) ? () => openMember(below(given, name), sshCommand, context) : undefined,
  }));
}

/** The storage of one of many: the caller closes it. */
export function openMember(
  url: string,
  sshCommand: string | undefined,
  { env, clock, signal, stdin, terminal }: CliContext,
): Promise<Storage> {
  const notify = (message: string): void => terminal.warning(message);
  return openStorage(url, { env, clock, sshCommand, isInteractive: stdin.isTerminal, signal, notify });
}

/** The URL of a folder below another. */
function below(url: string, name: string): string {
  const [, path, query = ''] = /^([^?]*)(\?.*)?$/s.exec(url.includes('://') ? url : '') ?? [];
  return path ? `${path.replace(/\/+$/, '')}/${name}${query}` : `${url.replace(/\/+$/, '')}/${name}`;
}

export const fleetColumns: readonly Column[] = [
  { title: 'REPOSITORY' },
  { title: 'SNAPSHOTS', align: 'right' },
  { title: 'NEWEST' },
  { title: 'AGE', align: 'right' },
];

export function fleetCells({ name, snapshots, newest }: FleetFinding, now: Date): string[] {
  const time = newest
    ?.toISOString()
    .replace('T', ' ')
    .replace(/(?:\.\d+)?Z$/, ' UTC');
  return [name, snapshots === undefined ? '-' : String(snapshots), time ?? '-', formatAge(newest, now)];
}

export function formatAge(time: Date | undefined, now: Date): string {
  return time ? formatDuration(now.getTime() - time.getTime()) : '-';
}

export function findingJson(finding: FleetFinding, now: Date): Record<string, unknown> {
  const { name, repository, result, error, newest, snapshot, snapshots } = finding;
  return {
    name,
    clean: result?.troubles.length === 0,
    repository: repository ?? null,
    snapshots: snapshots ?? null,
    snapshot: snapshot ?? null,
    newest: newest?.toISOString() ?? null,
    ageSeconds: newest ? Math.round((now.getTime() - newest.getTime()) / 1000) : null,
    troubles: result?.troubles ?? [],
    error: error?.message ?? null,
  };
}

export function stateOf({ result, error }: FleetFinding): string {
  if (error) return error.code === 'damaged' ? 'GONE' : 'CANNOT BE READ';
  if (!result) return 'unchecked';
  const troubles = result.troubles.length;
  return troubles > 0 ? `${troubles} FOUND` : 'clean';
}

export function codeOf({ result, error }: FleetFinding): ErrorCode | undefined {
  if (error) return error.code;
  if (!result || result.troubles.length === 0) return undefined;
  return result.troubles.every(({ kind }) => kind === 'unreadable') ? 'failed' : 'damaged';
}

/** Damage before anything else. @throws if there is any code */
export function throwWorst(codes: readonly (ErrorCode | undefined)[]): void {
  const worst = codes.find((code) => code === 'damaged') ?? codes.find((code) => code !== undefined);
  if (!worst) return;
  const bad = codes.filter((code) => code !== undefined).length;
  throw new SalvageError(
    worst,
    `Cannot call all repositories good: ${bad} of ${codes.length} are not, each named above`,
    { hint: 'salvage verify --repo URL tells more of one.' },
  );
}
