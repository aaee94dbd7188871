import { SalvageError, type ErrorCode } from '../errors/salvage-error.ts';
import {
  drillNamespace,
  type DrillReports,
  type DrillReport,
  type ReportSignature,
} from '../operation/drill/drill-report.ts';
import { findRepositories } from '../operation/fleet/find-repositories.ts';
import { verifyFleet, type FleetFinding, type FleetMember } from '../operation/fleet/verify-fleet.ts';
import { RememberedHeads } from '../operation/verify/remembered-heads.ts';
import { openStorage } from '../storage/open-storage.ts';
import { matchesPatternList } from '../ssh/pattern-list.ts';
import type { Storage } from '../storage/storage.ts';
import { formatDuration } from '../ui/duration.ts';
import { formatTable } from '../ui/table.ts';
import type { CliContext } from './context.ts';
import {
  readAllowedSigners,
  readRevokedSigners,
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

export interface FleetCheck {
  readonly flags: FleetFlags;
  /** As for `verify`. */
  readonly readShare: number;
  /** Where the reports of drills are. */
  readonly drills?: DrillReports;
  /** A newest snapshot that is older than this is found, too. */
  readonly maxAgeMs?: number | undefined;
}

/** So many repositories at a time. */
const atOnce = 4;

/**
 * Verifies every repository below --root, and prints a row, or with --json an object, for each.
 * @throws usage; what is worst of what was found
 */
export async function checkFleet(
  { flags, readShare, drills, maxAgeMs }: FleetCheck,
  context: CliContext,
): Promise<void> {
  const { terminal, signal, clock } = context;
  const allowedSigners = readAllowedSigners(flags, context);
  if (!allowedSigners)
    throw new SalvageError('usage', 'Cannot verify: nobody said whose signatures to trust', {
      hint: 'Give --allowed-signers FILE; a repository ROOT/web-1 must be signed by "web-1", or by the one that --signer names.',
    });
  const heads = new RememberedHeads(flags.state ?? stateFolder('heads', context));
  const members = await findMembers(flags, heads, context);
  if (members.length === 0)
    throw new SalvageError('no-repository', `Cannot find a repository below "${flags.root}": there is none`);
  const findings = await verifyFleet(
    members,
    {
      allowedSigners,
      revoked: readRevokedSigners(flags),
      keeper: readTrustedKeeper(flags, context),
      heads,
      readShare,
      atOnce,
    },
    {
      onTrouble: (name, { message }) => terminal.warning(`${name}: ${message}`),
      onDone({ name, error }) {
        if (error) terminal.warning(`${name}: ${error.message}`);
      },
    },
    signal,
  );
  const now = clock.now();
  const isOld = ({ newest }: FleetFinding): boolean =>
    maxAgeMs !== undefined && (newest?.getTime() ?? 0) + maxAgeMs < now.getTime();
  // Only who is listed for just that: a host that may sign anything is no restorer.
  const restorers = allowedSigners.filter(
    ({ namespaces }) => namespaces !== undefined && matchesPatternList(drillNamespace, namespaces),
  );
  const drillOf = ({ result }: FleetFinding): Drilled | undefined =>
    result && drills?.read(result.repository, restorers);
  const isForged = (finding: FleetFinding): boolean => drillOf(finding)?.signature === 'bad';
  for (const finding of findings)
    if (flags.json)
      await context.stdout.write(
        `${JSON.stringify(asJson(finding, now, isOld(finding), drillOf(finding)))}\n`,
      );
  if (!flags.json)
    await context.stdout.write(
      formatTable(
        drills?.isUsed ? [...columns, { title: 'DRILLED' }] : columns,
        findings.map((finding) => [
          ...asRow(finding, now, isOld(finding)),
          describeDrill(drillOf(finding), now),
        ]),
      ),
    );
  const worst = worstOf(
    findings.map(
      (finding) =>
        codeOf(finding) ?? (isForged(finding) ? 'bad-signature' : isOld(finding) ? 'failed' : undefined),
    ),
  );
  if (!worst) return;
  const bad = findings.filter((finding) => codeOf(finding) ?? (isForged(finding) || isOld(finding))).length;
  throw new SalvageError(
    worst,
    `Cannot call all repositories good: ${bad} of ${findings.length} are not, each named above`,
    { hint: 'salvage verify --repo URL tells more of one.' },
  );
}

/** What is there now, and what was here when last looked at. */
async function findMembers(
  { root: given = '', sshCommand, signer }: FleetFlags,
  heads: RememberedHeads,
  context: CliContext,
): Promise<FleetMember[]> {
  const { env, clock, signal, terminal } = context;
  const isInteractive = context.stdin.isTerminal;
  const notify = (message: string): void => terminal.warning(message);
  const open = (url: string): Promise<Storage> =>
    openStorage(url, { env, clock, sshCommand, isInteractive, signal, notify });
  const root = await open(given);
  let names: string[];
  try {
    names = await findRepositories(root, signal);
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
  return [...names, ...new Set(gone)].sort().map((name) => ({
    name,
    principal: signer ?? name.slice(name.lastIndexOf('/') + 1),
    open: there.has(name) ? () => open(below(given, name)) : undefined,
  }));
}

/** The URL of a folder below another. */
function below(url: string, name: string): string {
  const [, path, query = ''] = /^([^?]*)(\?.*)?$/s.exec(url.includes('://') ? url : '') ?? [];
  return path ? `${path.replace(/\/+$/, '')}/${name}${query}` : `${url.replace(/\/+$/, '')}/${name}`;
}

/** The last drill of a repository, by its report. */
interface Drilled {
  readonly report: DrillReport;
  readonly signature: ReportSignature;
}

const columns = [
  { title: 'REPOSITORY' },
  { title: 'SNAPSHOTS', align: 'right' },
  { title: 'NEWEST' },
  { title: 'AGE', align: 'right' },
  { title: 'STATE' },
] as const;

function asRow(finding: FleetFinding, now: Date, isOld: boolean): string[] {
  const { name, result, newest } = finding;
  return [
    name,
    result ? String(result.snapshots) : '-',
    newest
      ? newest
          .toISOString()
          .replace('T', ' ')
          .replace(/(?:\.\d+)?Z$/, ' UTC')
      : '-',
    newest ? formatDuration(now.getTime() - newest.getTime()) : '-',
    stateOf(finding, isOld),
  ];
}

/** When it last proved that it can be restored. */
function describeDrill(drilled: Drilled | undefined, now: Date): string {
  if (!drilled) return 'never';
  const { report, signature } = drilled;
  if (signature === 'bad') return 'NOT TRUSTED';
  const ago = `${formatDuration(now.getTime() - new Date(report.time).getTime())} ago`;
  return report.passed ? ago : `FAILED ${ago}`;
}

function asJson(finding: FleetFinding, now: Date, isOld: boolean, drilled: Drilled | undefined): object {
  const { name, result, error, newest } = finding;
  return {
    name,
    state: stateOf(finding, isOld),
    clean: result?.troubles.length === 0,
    repository: result?.repository ?? null,
    snapshots: result?.snapshots ?? null,
    newest: newest?.toISOString() ?? null,
    ageSeconds: newest ? Math.round((now.getTime() - newest.getTime()) / 1000) : null,
    tooOld: isOld,
    troubles: result?.troubles ?? [],
    error: error?.message ?? null,
    drill: drilled?.report ?? null,
    drillSignature: drilled?.signature ?? null,
  };
}

function stateOf({ result, error }: FleetFinding, isOld: boolean): string {
  if (error) return error.code === 'damaged' ? 'GONE' : 'CANNOT BE READ';
  const troubles = result!.troubles.length;
  if (troubles > 0) return `${troubles} FOUND`;
  return isOld ? 'TOO OLD' : 'clean';
}

function codeOf({ result, error }: FleetFinding): ErrorCode | undefined {
  if (error) return error.code;
  if (result!.troubles.length === 0) return undefined;
  return result!.troubles.every(({ kind }) => kind === 'unreadable') ? 'failed' : 'damaged';
}

/** Damage before anything else. */
function worstOf(codes: readonly (ErrorCode | undefined)[]): ErrorCode | undefined {
  return codes.find((code) => code === 'damaged') ?? codes.find((code) => code !== undefined);
}
