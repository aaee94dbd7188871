import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Configuration } from '../../configuration/configuration.ts';
import { dueFrom } from '../../configuration/due.ts';
import { planSteps, type Step } from '../../configuration/plan-steps.ts';
import type { RunState } from '../../operation/run/run-state.ts';
import { isLocalUrl } from '../../storage/open-storage.ts';
import { formatDuration } from '../../ui/duration.ts';
import { formatSize } from '../../ui/size.ts';
import { cacheRoot } from '../cache-folder.ts';
import type { CliContext } from '../context.ts';
import { judgeStep } from '../judge-repository.ts';
import { parseDuration } from '../parse-duration.ts';
import { parseSize } from '../parse-size.ts';
import { repositoryUrl } from '../perform-step.ts';
import { planService } from '../plan-service.ts';
import { detectScheduler, scheduler } from '../schedulers.ts';
import type { MachineCheck } from './machine-check.ts';

/** Less room than this is none. */
const leastFreeBytes = 64 * 1024 * 1024;
const cronFolder = '/etc/cron.d';

/** In the words of the four roles. */
export function rolesIn({ settings }: Configuration): string {
  const { repositories, jobs, copies } = settings;
  const each = Object.values(repositories);
  const all = Object.values(jobs);
  const roles = [
    all.some(({ pull }) => pull === undefined) && 'host',
    (all.some(({ pull }) => pull !== undefined) ||
      each.some(({ retention }) => retention) ||
      Object.keys(copies).length > 0) &&
      'keeper',
    each.some(({ verify }) => verify) && 'auditor',
    each.some(({ drill }) => drill) && 'restorer',
  ].filter((role) => role !== false);
  return roles.join(', ') || 'nothing that is to be done';
}

/** Files and folders that the configuration names: a line for each that is not there. */
export function checkNamedFiles(configuration: Configuration): MachineCheck[] {
  const { repositories, jobs, credentials } = configuration.settings;
  const named: [path: string, where: string, mend?: string][] = [];
  for (const [name, repository] of Object.entries(repositories)) {
    const where = `repositories.${name}`;
    const { identities = [], drill, passphrase } = repository;
    const signers = repository['allowed-signers'];
    if (signers !== undefined)
      named.push([signers, where, 'copy the line that "salvage init" printed into it']);
    for (const identity of identities)
      named.push([identity, where, 'salvage key join, or bring the key here']);
    for (const key of [repository['signing-key'], drill?.['signing-key']])
      if (key !== undefined)
        named.push([key, where, `ssh-keygen -t ed25519 -f "${configuration.path(key)}"`]);
    if (drill?.scratch !== undefined) named.push([drill.scratch, `${where}.drill`]);
    if (passphrase && 'file' in passphrase) named.push([passphrase.file, where]);
  }
  for (const [name, { paths = [], 'exclude-from': lists = [] }] of Object.entries(jobs))
    for (const path of [...paths, ...lists]) named.push([path, `jobs.${name}`]);
  for (const [name, path] of Object.entries(credentials)) named.push([path, `credentials.${name}`]);
  const lost = named.filter(([path]) => !existsSync(configuration.path(path)));
  if (lost.length === 0 && named.length > 0)
    return [
      { check: 'file', subject: '', state: 'ok', message: `all ${named.length} that it names are there` },
    ];
  return lost.map(([path, where, mend]) => ({
    check: 'file',
    subject: configuration.path(path),
    state: 'missing',
    message: `${where} names it`,
    mend: mend ?? `mend the path in "${configuration.file}", or make it`,
  }));
}

/** What starts runs, and whether that still fits the configuration. */
export function checkSchedule(configuration: Configuration, context: CliContext): MachineCheck[] {
  if (planSteps(configuration.settings).length === 0) return [];
  const kind = detectScheduler();
  const isRoot = process.getuid?.() === 0;
  const chosen = scheduler(kind, isRoot ? 'system' : 'user', context);
  const install = `salvage schedule install --config "${configuration.file}"`;
  const place = chosen.find('salvage') ?? cronFile(configuration.file);
  if (place === undefined)
    return [
      { check: 'schedule', subject: kind, state: 'warn', message: 'nothing starts runs', mend: install },
    ];
  const isOld = Object.entries(chosen.files(planService('salvage', configuration, context))).some(
    ([path, text]) => path.startsWith('/') && existsSync(path) && readFileSync(path, 'utf8') !== text,
  );
  if (isOld)
    return [
      {
        check: 'schedule',
        subject: place,
        state: 'warn',
        message: 'it was installed for another configuration, or for this one before it changed',
        mend: install,
      },
    ];
  return [{ check: 'schedule', subject: place, state: 'ok', message: 'starts runs' }];
}

/** Where somebody, or Ansible, has written a line of cron. */
function cronFile(configuration: string): string | undefined {
  const path = `${cronFolder}/salvage`;
  return existsSync(path) && readFileSync(path, 'utf8').includes(configuration) ? path : undefined;
}

/** How each step ended last, when it went well, and when it comes next. */
export function checkSteps(configuration: Configuration, state: RunState, now: Date): MachineCheck[] {
  const delayMs = parseDuration(configuration.settings.service['randomized-delay'], 'randomized-delay');
  return planSteps(configuration.settings).map((step: Step): MachineCheck => {
    const last = state.of(step.id);
    const mend = `salvage run ${step.id}`;
    const subject = step.id;
    if (last && last.startedAt.getTime() > now.getTime() + 60_000)
      return {
        check: 'step',
        subject,
        state: 'bad',
        message: `last done at ${last.startedAt.toISOString()}, which is in the future: the clock was wrong then, or is now`,
        mend: 'timedatectl set-ntp true',
      };
    const next = dueFrom(step.schedule, last, now);
    const when = next <= now ? 'due now' : `next in ${formatDuration(next.getTime() - now.getTime())}`;
    const known = { newest: undefined, isRunHere: true, delayMs };
    const [[severity, reason] = []] = judgeStep({ ...step, last }, known, now);
    if (severity !== undefined)
      return {
        check: 'step',
        subject,
        state: severity === 'critical' ? 'bad' : 'warn',
        message: `${reason!.replace(`${step.id} `, '')}; ${when}`,
        mend,
      };
    const good = last?.goodAt;
    const ago = good ? `done ${formatDuration(now.getTime() - good.getTime())} ago` : 'never done';
    return { check: 'step', subject, state: 'ok', message: `${ago}; ${when}` };
  });
}

/** Room for the cache, for what is on its way, and in repositories on this machine. */
export function checkSpace(
  configuration: Configuration | undefined,
  state: RunState | undefined,
  context: CliContext,
): MachineCheck[] {
  const wanted = new Map<string, readonly [what: string, bytes: number]>();
  const want = (path: string, what: string, bytes: number): void => {
    let folder = path;
    while (!existsSync(folder)) folder = dirname(folder);
    const before = wanted.get(folder);
    wanted.set(folder, before && before[1] > bytes ? before : [what, Math.max(bytes, leastFreeBytes)]);
  };
  want(cacheRoot(context), 'the cache', 0);
  want(tmpdir(), 'temporary files', 0);
  if (configuration) {
    const steps = planSteps(configuration.settings);
    for (const [name, { drill }] of Object.entries(configuration.settings.repositories)) {
      if (drill) {
        const scratch = drill.scratch === undefined ? tmpdir() : configuration.path(drill.scratch);
        want(scratch, `a drill of ${name}`, parseSize(drill['max-size'], 'max-size'));
      }
      const url = repositoryUrl(name, configuration);
      if (!isLocalUrl(url)) continue;
      const stored = steps
        .filter(({ repository }) => repository === name)
        .map(({ id }) => state?.of(id)?.numbers['storedBytes'] ?? 0);
      const path = url.startsWith('file:') ? fileURLToPath(url) : url;
      want(path, `what a run adds to ${name}`, 2 * Math.max(0, ...stored));
    }
  }
  return [...wanted].map(([folder, [what, bytes]]): MachineCheck => {
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    const isEnough = free >= bytes;
    return {
      check: 'space',
      subject: folder,
      state: isEnough ? 'ok' : 'bad',
      message: isEnough
        ? `${formatSize(free)} free`
        : `${formatSize(free)} free, and ${what} needs some ${formatSize(bytes)}`,
      mend: isEnough ? undefined : 'make room there, or name another place',
    };
  });
}
