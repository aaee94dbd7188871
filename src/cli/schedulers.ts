import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { crontabBlock, hasBlock, replaceBlock } from '../configuration/service/crontab.ts';
import { launchdPlist } from '../configuration/service/launchd-plist.ts';
import type { ServicePlan } from '../configuration/service/service-plan.ts';
import { systemdUnits } from '../configuration/service/systemd-units.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { CliContext } from './context.ts';
import { hostName } from './plan-service.ts';
import { systemError } from './system-error.ts';

export type SchedulerKind = 'systemd' | 'cron' | 'launchd';
export type SchedulerScope = 'system' | 'user';

/** What starts runs on this machine. */
export interface Scheduler {
  readonly kind: SchedulerKind;
  readonly scope: SchedulerScope;
  /** What `install` would write: paths, or the name of a crontab, with their content. */
  files(plan: ServicePlan): Readonly<Record<string, string>>;
  /** Writes it in place of what was there before, and starts it. @throws failed */
  install(plan: ServicePlan): void;
  /** Where it is installed under this name; undefined if it is not. @throws failed */
  find(name: string): string | undefined;
  /** Stops it, and takes away what `install` wrote; nothing if it is not there. @throws failed */
  remove(name: string): void;
}

const systemUnits = '/etc/systemd/system';

/** systemd where it runs, launchd on macOS, else cron. */
export function detectScheduler(): SchedulerKind {
  if (process.platform === 'darwin') return 'launchd';
  return existsSync('/run/systemd/system') ? 'systemd' : 'cron';
}

export function scheduler(kind: SchedulerKind, scope: SchedulerScope, context: CliContext): Scheduler {
  const make = { systemd, cron, launchd }[kind];
  return make(scope, context);
}

function systemd(scope: SchedulerScope, { env }: CliContext): Scheduler {
  const configHome = env['XDG_CONFIG_HOME'] ?? '';
  const userUnits = join(isAbsolute(configHome) ? configHome : join(homedir(), '.config'), 'systemd', 'user');
  const folder = scope === 'system' ? systemUnits : userUnits;
  const pathOf = (name: string, type: 'service' | 'timer'): string => join(folder, `${name}.${type}`);
  const control = (...args: string[]): void =>
    runProgram('systemctl', [...(scope === 'user' ? ['--user'] : []), ...args]);
  const files = (plan: ServicePlan): Record<string, string> => {
    const { service, timer } = systemdUnits(plan, scope);
    return { [pathOf(plan.name, 'service')]: service, [pathOf(plan.name, 'timer')]: timer };
  };
  return {
    kind: 'systemd',
    scope,
    files,
    install(plan) {
      // What cannot be found when the unit starts stays read only.
      for (const path of plan.ownFolders) makeFolder(path, 0o700);
      for (const [path, text] of Object.entries(files(plan))) writeWhole(path, text);
      control('daemon-reload');
      control('enable', `${plan.name}.timer`);
      control('restart', `${plan.name}.timer`);
    },
    find(name) {
      const path = pathOf(name, 'timer');
      return existsSync(path) ? path : undefined;
    },
    remove(name) {
      if (!existsSync(pathOf(name, 'timer'))) return;
      control('disable', '--now', `${name}.timer`);
      for (const type of ['timer', 'service'] as const) removeFile(pathOf(name, type));
      control('daemon-reload');
    },
  };
}

function cron(scope: SchedulerScope): Scheduler {
  if (scope === 'system' && process.getuid?.() !== 0)
    throw new SalvageError('usage', "Cannot change the system's crontab: that is root's", {
      hint: 'Run it as root, or with --user.',
    });
  const place = 'crontab';
  return {
    kind: 'cron',
    scope,
    files: (plan) => ({ [place]: crontabBlock(plan, hostName()) }),
    install(plan) {
      const block = crontabBlock(plan, hostName());
      runProgram('crontab', ['-'], replaceBlock(readCrontab(), plan.name, block));
    },
    find: (name) => (hasBlock(readCrontab(), name) ? place : undefined),
    remove(name) {
      const before = readCrontab();
      if (hasBlock(before, name)) runProgram('crontab', ['-'], replaceBlock(before, name, ''));
    },
  };
}

/** Only what surely is "none" counts as none: what is not read would be overwritten. */
function readCrontab(): string {
  const { status, stdout, stderr, error } = spawnSync('crontab', ['-l'], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  // Where there is no such program there are no crontabs either.
  if (error && (error as NodeJS.ErrnoException).code === 'ENOENT') return '';
  if (error) throw systemError('run crontab', error);
  if (status === 0) return stdout;
  if (stdout === '' && /no crontab for|can't open/i.test(stderr)) return '';
  throw new SalvageError(
    'failed',
    `Cannot read the crontab: ${stderr.trim() || `crontab -l ended with ${status}`}`,
  );
}

function launchd(scope: SchedulerScope): Scheduler {
  const folder = scope === 'system' ? '/Library/LaunchDaemons' : join(homedir(), 'Library', 'LaunchAgents');
  const domain = scope === 'system' ? 'system' : `gui/${process.getuid?.()}`;
  const pathOf = (name: string): string => join(folder, `${name}.plist`);
  const files = (plan: ServicePlan): Record<string, string> => ({ [pathOf(plan.name)]: launchdPlist(plan) });
  const stop = (name: string): void =>
    void spawnSync('launchctl', ['bootout', `${domain}/${name}`], { stdio: 'ignore' });
  return {
    kind: 'launchd',
    scope,
    files,
    install(plan) {
      for (const [path, text] of Object.entries(files(plan))) writeWhole(path, text);
      stop(plan.name);
      runProgram('launchctl', ['bootstrap', domain, pathOf(plan.name)]);
    },
    find: (name) => (existsSync(pathOf(name)) ? pathOf(name) : undefined),
    remove(name) {
      stop(name);
      removeFile(pathOf(name));
    },
  };
}

function runProgram(program: string, args: readonly string[], input = ''): void {
  const { status, stderr, error } = spawnSync(program, args, { input, encoding: 'utf8' });
  if (error) throw systemError(`run ${program}`, error);
  if (status !== 0)
    throw new SalvageError(
      'failed',
      `Cannot run ${program} ${args.join(' ')}: ${stderr.trim() || `it ended with ${status}`}`,
    );
}

function makeFolder(path: string, mode: number): void {
  try {
    mkdirSync(path, { recursive: true, mode });
  } catch (error) {
    throw systemError(`make the folder "${path}"`, error);
  }
}

function writeWhole(path: string, text: string): void {
  makeFolder(dirname(path), 0o755);
  try {
    writeFileSync(path, text, { mode: 0o644 });
  } catch (error) {
    throw systemError(`write "${path}"`, error);
  }
}

function removeFile(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    throw systemError(`remove "${path}"`, error);
  }
}
