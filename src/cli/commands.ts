import type { CommandModule } from './context.ts';

interface CommandEntry {
  readonly group: 'start' | 'age' | 'archive' | 'repository' | 'keys' | 'operations';
  /** One line for `salvage --help`, which fits in 80 columns. */
  readonly summary: string;
  /** Imports the command's file, only when it is run. */
  readonly load: () => Promise<CommandModule>;
}

/** Every command, in the order of `salvage --help`. A new command adds its file in commands/ and its line here. */
export const commands: Readonly<Record<string, CommandEntry>> = {
  quickstart: {
    group: 'start',
    summary: 'make keys and a repository, back up, prove it by a restore',
    load: () => import('./commands/quickstart.ts'),
  },
  doctor: {
    group: 'start',
    summary: 'what is ready on this machine, what is missing, what mends it',
    load: () => import('./commands/doctor.ts'),
  },
  keygen: {
    group: 'age',
    summary: 'make an age key pair, or show the recipients of an identity',
    load: () => import('./commands/keygen.ts'),
  },
  encrypt: {
    group: 'age',
    summary: 'encrypt a file or a stream to recipients or with a passphrase',
    load: () => import('./commands/encrypt.ts'),
  },
  decrypt: {
    group: 'age',
    summary: 'decrypt an age file or stream',
    load: () => import('./commands/decrypt.ts'),
  },
  inspect: {
    group: 'age',
    summary: 'show what an age file tells without a key',
    load: () => import('./commands/inspect.ts'),
  },
  seal: {
    group: 'archive',
    summary: 'pack, compress and encrypt files into one archive',
    load: () => import('./commands/seal.ts'),
  },
  open: {
    group: 'archive',
    summary: 'unpack, list or test an archive, ours or one of tar and age',
    load: () => import('./commands/open.ts'),
  },
  sign: {
    group: 'archive',
    summary: 'sign files as ssh-keygen -Y sign does',
    load: () => import('./commands/sign.ts'),
  },
  'check-signature': {
    group: 'archive',
    summary: 'check who signed a file, as ssh-keygen -Y verify does',
    load: () => import('./commands/check-signature.ts'),
  },
  init: {
    group: 'repository',
    summary: 'make a repository and set this host up for it',
    load: () => import('./commands/init.ts'),
  },
  backup: {
    group: 'repository',
    summary: 'make a snapshot of files, a stream, or what a command prints',
    load: () => import('./commands/backup.ts'),
  },
  restore: {
    group: 'repository',
    summary: 'bring back all or part of a snapshot',
    load: () => import('./commands/restore.ts'),
  },
  verify: {
    group: 'repository',
    summary: 'check signatures, chain and data of a repository',
    load: () => import('./commands/verify.ts'),
  },
  snapshots: {
    group: 'repository',
    summary: 'list the snapshots and who signed them',
    load: () => import('./commands/snapshots.ts'),
  },
  ls: {
    group: 'repository',
    summary: 'list files in a snapshot',
    load: () => import('./commands/ls.ts'),
  },
  find: {
    group: 'repository',
    summary: 'find files in all snapshots',
    load: () => import('./commands/find.ts'),
  },
  diff: {
    group: 'repository',
    summary: 'compare two snapshots, or one with this machine',
    load: () => import('./commands/diff.ts'),
  },
  cat: {
    group: 'repository',
    summary: 'print a file of a snapshot',
    load: () => import('./commands/cat.ts'),
  },
  copy: {
    group: 'repository',
    summary: 'bring snapshots to another place, checked on the way',
    load: () => import('./commands/copy.ts'),
  },
  drill: {
    group: 'repository',
    summary: 'prove that a snapshot can be restored, in a signed report',
    load: () => import('./commands/drill.ts'),
  },
  forget: {
    group: 'repository',
    summary: 'remove snapshots by policy (keeper)',
    load: () => import('./commands/forget.ts'),
  },
  prune: {
    group: 'repository',
    summary: 'remove what no snapshot needs any more (keeper)',
    load: () => import('./commands/prune.ts'),
  },
  serve: {
    group: 'repository',
    summary: 'let a client at a folder here, over SSH: the append-only door',
    load: () => import('./commands/serve.ts'),
  },
  pull: {
    group: 'repository',
    summary: 'run a backup on a host over SSH, and store it here (keeper)',
    load: () => import('./commands/pull.ts'),
  },
  'recovery-kit': {
    group: 'repository',
    summary: 'print one page with what a stranger needs to restore',
    load: () => import('./commands/recovery-kit.ts'),
  },
  key: {
    group: 'keys',
    summary: 'split a private key into paper shares, join them, or print it',
    load: () => import('./commands/key.ts'),
  },
  run: {
    group: 'operations',
    summary: 'do what is due: backups, copies, checks, drills',
    load: () => import('./commands/run.ts'),
  },
  schedule: {
    group: 'operations',
    summary: 'have runs started by systemd, cron or launchd; list them',
    load: () => import('./commands/schedule.ts'),
  },
  config: {
    group: 'operations',
    summary: 'check salvage.toml, and show what is wrong in it',
    load: () => import('./commands/config.ts'),
  },
  host: {
    group: 'keys',
    summary: 'give this host a new signing key, signed for with the old one',
    load: () => import('./commands/host.ts'),
  },
  recipients: {
    group: 'keys',
    summary: 'list, add or retire keys of a repository; rewrap for others',
    load: () => import('./commands/recipients.ts'),
  },
  auditors: {
    group: 'keys',
    summary: 'say whose requests for healing this host acts on',
    load: () => import('./commands/auditors.ts'),
  },
  status: {
    group: 'operations',
    summary: 'show repositories: age, size, soundness, drill, what is due',
    load: () => import('./commands/status.ts'),
  },
  completion: {
    group: 'operations',
    summary: 'print the script that completes commands in bash, zsh or fish',
    load: () => import('./commands/completion.ts'),
  },
  man: {
    group: 'operations',
    summary: 'print the manual page of salvage or of a command',
    load: () => import('./commands/man.ts'),
  },
};
