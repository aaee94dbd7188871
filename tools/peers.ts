// The real programs that the tests compare with. Debian's packages come by apt; the newest age, restic and rclone come
// from Debian's unstable suite and are unpacked, not installed, into .cache/peers (their binaries run on Debian 12).
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { azuriteMain } from '../test/support/peers.ts';

const root = join(import.meta.dirname, '..');
const cache = join(root, '.cache', 'peers');

/** Debian 12 package -> a file that shows it is installed. */
const packages: Record<string, string> = {
  age: '/usr/bin/age',
  zstd: '/usr/bin/zstd',
  'xz-utils': '/usr/bin/xz',
  bzip2: '/usr/bin/bzip2',
  tar: '/bin/tar',
  'libarchive-tools': '/usr/bin/bsdtar',
  'openssh-client': '/usr/bin/ssh-keygen',
  'openssh-server': '/usr/sbin/sshd',
  rsync: '/usr/bin/rsync',
  attr: '/usr/bin/setfattr',
  acl: '/usr/bin/setfacl',
  expect: '/usr/bin/expect',
  strace: '/usr/bin/strace',
  python3: '/usr/bin/python3',
  iproute2: '/bin/ip',
  softhsm2: '/usr/bin/softhsm2-util',
  'ceph-mon': '/usr/bin/ceph-mon',
  'ceph-osd': '/usr/bin/ceph-osd',
  radosgw: '/usr/bin/radosgw',
  faketime: '/usr/bin/faketime',
  rclone: '/usr/bin/rclone',
  zsh: '/usr/bin/zsh',
  fish: '/usr/bin/fish',
  'groff-base': '/usr/bin/groff',
  'postgresql-15': '/usr/lib/postgresql/15/bin/initdb',
  'mariadb-server-core': '/usr/sbin/mariadbd',
  'mariadb-client': '/usr/bin/mariadb-dump',
  sqlite3: '/usr/bin/sqlite3',
  systemd: '/usr/bin/systemd-analyze',
  cron: '/usr/bin/crontab',
  rsyslog: '/usr/sbin/rsyslogd',
  'ansible-core': '/usr/bin/ansible-playbook',
};
const azurite = {
  version: '3.37.0',
  before: '2026-11-20',
  folder: join(cache, 'azurite'),
  main: azuriteMain,
};
const unstable = ['age', 'rclone'];

function apt(args: string[]): boolean {
  const { status } = spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
}

/** Installs what is missing where that is possible; otherwise names the one command to run and ends the process. */
export function preparePeers(): void {
  if (process.env['SALVAGE_TEST_WITHOUT_PEERS'] === '1') return;
  const missing = Object.keys(packages).filter((name) => !existsSync(packages[name]!));
  if (missing.length > 0) {
    const command = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`;
    if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
      console.error(
        `The tests compare with real programs, and some are missing. As root, run:\n\n  ${command}\n`,
      );
      console.error('Or run the tests without them: SALVAGE_TEST_WITHOUT_PEERS=1 npm test');
      process.exit(1);
    }
    console.error(`installing what the tests compare with: ${missing.join(' ')}`);
    // A freshly installed sshd must not start by itself, and PostgreSQL not make a server of its own.
    if (!existsSync('/usr/sbin/policy-rc.d'))
      writeFileSync('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    if (!existsSync('/etc/postgresql-common/createcluster.conf')) {
      mkdirSync('/etc/postgresql-common', { recursive: true });
      writeFileSync('/etc/postgresql-common/createcluster.conf', 'create_main_cluster = false\n');
    }
    if (!apt(['update', '-q']) || !apt(['install', '-y', '--no-install-recommends', ...missing])) {
      console.error(`That failed. Run it by hand to see why:\n\n  ${command}\n`);
      process.exit(1);
    }
  }
  const wanted = unstable.filter((name) => !existsSync(join(cache, name, 'usr/bin', name)));
  if (wanted.length > 0) unpackFromUnstable(wanted);
  if (!existsSync(azurite.main)) installAzurite();
}

/** Too large to be a dependency that every developer's `npm ci` brings in; what it depends on is pinned by the date. */
function installAzurite(): void {
  console.error(`fetching Azurite ${azurite.version}, a server of Azure Blob Storage, into .cache/peers`);
  mkdirSync(azurite.folder, { recursive: true });
  const { status } = spawnSync(
    'npm',
    [
      'install',
      '--prefix',
      azurite.folder,
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      `--before=${azurite.before}`,
      `azurite@${azurite.version}`,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  if (status === 0) return;
  console.error('Azurite could not be fetched. Tests without it: SALVAGE_TEST_WITHOUT_PEERS=1 npm test');
  process.exit(1);
}

/** The path of a program's newest version, unpacked from Debian unstable if it is not there yet. */
export function fetchFromUnstable(name: string): string {
  const program = join(cache, name, 'usr/bin', name);
  if (!existsSync(program)) unpackFromUnstable([name]);
  return program;
}

function unpackFromUnstable(names: string[]): void {
  console.error(`fetching the newest ${names.join(', ')} from Debian unstable into .cache/peers`);
  for (const folder of ['apt/lists/partial', 'apt/cache/archives/partial', 'debs'])
    mkdirSync(join(cache, folder), { recursive: true });
  writeFileSync(join(cache, 'apt/sources.list'), `deb ${debianMirror()} sid main\n`);
  const options = [
    ['Dir::Etc::sourcelist', 'apt/sources.list'],
    ['Dir::State::lists', 'apt/lists'],
    ['Dir::Cache', 'apt/cache'],
  ].map(([key, path]) => `-o${key}=${join(cache, path!)}`);
  // apt drops to the user _apt, who may not enter a private clone.
  options.push('-oDir::Etc::sourceparts=-', '-oAPT::Sandbox::User=');
  const run = (command: string, args: string[]): void => {
    const { status, stderr } = spawnSync(command, args, { cwd: join(cache, 'debs'), encoding: 'utf8' });
    if (status !== 0) {
      console.error(`${command} ${args.join(' ')}\n${stderr}`);
      console.error(
        `The newest ${names.join(', ')} could not be fetched. Tests without it: SALVAGE_TEST_WITHOUT_PEERS=1 npm test`,
      );
      process.exit(1);
    }
  };
  run('apt-get', [...options, 'update', '-q']);
  run('apt-get', [...options, 'download', ...names]);
  for (const name of names) {
    const [deb] = globSync(`${name}_*.deb`, { cwd: join(cache, 'debs') });
    run('dpkg', ['-x', deb!, join(cache, name)]);
  }
}

/** The mirror that this machine's own apt uses. */
function debianMirror(): string {
  for (const file of globSync([
    '/etc/apt/sources.list.d/*.sources',
    '/etc/apt/sources.list',
    '/etc/apt/sources.list.d/*.list',
  ])) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const address = /^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+)/.exec(line)?.[1];
      if (address && !/security|nodesource/.test(address)) return address;
    }
  }
  return 'http://deb.debian.org/debian';
}
