import { accessSync, constants } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Configuration } from '../../configuration/configuration.ts';
import { parseShellWords } from '../../storage/shell-words.ts';
import { repositoryUrl } from '../perform-step.ts';
import type { MachineCheck } from './machine-check.ts';

/** What installs a program on Debian, where it is not called so itself. */
const packages: Readonly<Record<string, string>> = {
  ssh: 'openssh-client',
  pg_dump: 'postgresql-client',
  pg_dumpall: 'postgresql-client',
  pg_basebackup: 'postgresql-client',
  psql: 'postgresql-client',
  mysqldump: 'default-mysql-client',
  'mariadb-dump': 'mariadb-client',
  'mariadb-backup': 'mariadb-backup',
  mongodump: 'mongodb-database-tools',
  'redis-cli': 'redis-tools',
  slapcat: 'slapd',
  '/usr/sbin/sendmail': 'msmtp-mta',
  crontab: 'cron',
  systemctl: 'systemd',
  runuser: 'util-linux',
  rclone: 'rclone',
  sqlite3: 'sqlite3',
  gzip: 'gzip',
  zstd: 'zstd',
  curl: 'curl',
  pass: 'pass',
  sudo: 'sudo',
};

/** They run what follows "--", or their first argument. */
const wrappers = new Set(['runuser', 'sudo', 'env', 'nice', 'ionice', 'nohup', 'chronic', 'setpriv', 'exec']);
/** What sh knows by itself. */
const builtins = new Set(
  '. : [ break case cd command continue do done echo elif else esac eval exit export false fi for if in printf pwd read return set shift test then time times trap true type ulimit umask unset until wait while { } !'.split(
    ' ',
  ),
);

/** Every program that the configuration has started, and what for. */
export function neededPrograms(
  configuration: Configuration,
  env: Readonly<Record<string, string | undefined>>,
): Map<string, string> {
  const { repositories, jobs, hooks, notify } = configuration.settings;
  const needed = new Map<string, string>();
  const need = (program: string | undefined, what: string): void => {
    if (program !== undefined && program !== '' && !needed.has(program)) needed.set(program, what);
  };
  const ssh = (command: string | undefined, what: string): void =>
    need(parseShellWords(command ?? (env['SALVAGE_SSH'] || 'ssh'), 'ssh-command')[0], what);
  const lines = (line: string, what: string): void => {
    for (const program of programsIn(line)) need(program, what);
  };
  for (const [name, { plugins = [], drill, passphrase, 'ssh-command': command }] of Object.entries(
    repositories,
  )) {
    const url = repositoryUrl(name, configuration);
    if (/^(?:ssh|sftp):/i.test(url)) ssh(command, `repositories.${name}`);
    if (/^rclone:/i.test(url)) need('rclone', `repositories.${name}`);
    for (const plugin of plugins) need(`age-plugin-${plugin}`, `repositories.${name}`);
    if (drill?.check !== undefined) lines(drill.check, `repositories.${name}.drill`);
    if (passphrase && 'command' in passphrase) lines(passphrase.command, `repositories.${name}`);
  }
  for (const [name, job] of Object.entries(jobs)) {
    if (job.command !== undefined) lines(job.command, `jobs.${name}`);
    if (job.pull !== undefined) ssh(job['ssh-command'], `jobs.${name}`);
  }
  for (const { command } of hooks) lines(command, 'hooks');
  for (const { smtp, sendmail } of notify.emails)
    if (smtp === undefined) need(configuration.path(sendmail), 'notify.emails');
  return needed;
}

/** Looks for each where a run would: in PATH, which the configuration may set. */
export function checkPrograms(
  needed: ReadonlyMap<string, string>,
  path: string,
  folder: string,
): MachineCheck[] {
  return [...needed].map(([program, what]): MachineCheck => {
    const found = findProgram(program, path, folder);
    if (found !== undefined)
      return { check: 'program', subject: program, state: 'ok', message: `${found}, for ${what}` };
    return {
      check: 'program',
      subject: program,
      state: 'missing',
      message: `${what} needs it`,
      mend: howToInstall(program),
    };
  });
}

function howToInstall(program: string): string {
  const name = packages[program];
  if (name !== undefined) return `apt install ${name}`;
  return program.startsWith('age-plugin-')
    ? `apt install ${program}, or bring it from its authors`
    : 'install it, or name it by its whole path';
}

function findProgram(program: string, path: string, folder: string): string | undefined {
  const places = program.includes('/')
    ? [resolve(folder, program)]
    : path.split(':').map((place) => join(place || '.', program));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The programs that a command line of sh begins with, as far as that can be told without being a shell. */
export function programsIn(line: string): string[] {
  const found = new Set<string>();
  const plain = line.replaceAll(/'[^']*'|"(?:\\.|[^"\\])*"/g, '""').replaceAll(/\d?>&\d?/g, ' ');
  for (const part of plain.split(/[|&;()\n]+/)) {
    let words = part.trim().split(/\s+/);
    for (;;) {
      while (words.length > 0 && /^[A-Za-z_]\w*=/.test(words[0]!)) words = words.slice(1);
      const [first = ''] = words;
      if (!/^[\w./+-]+$/.test(first)) break;
      if (!builtins.has(first) && first !== 'exec') found.add(first);
      if (!wrappers.has(first)) break;
      const dashes = words.indexOf('--');
      if (dashes > 0) words = words.slice(dashes + 1);
      else if (first === 'exec' || first === 'env' || first === 'nohup') words = words.slice(1);
      else break;
    }
  }
  return [...found];
}
