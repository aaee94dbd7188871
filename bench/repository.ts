// npm run bench -- repository: salvage's repository against restic and borg (if installed), paired, in one run.
// SALVAGE_BENCH_SOURCE=DIR[:DIR…] chooses the tree (default /usr/lib), SALVAGE_BENCH_ROUNDS the number of counted rounds (3).
// Sources and repositories are on the disk of the scratch folder (TMPDIR), restores go to /dev/shm; all from the page cache.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  describeTree,
  machineShape,
  measureInTurn,
  median,
  medianRatio,
  warmFiles,
  warmMemory,
} from './measure.ts';
import type { Contestant, Run } from './measure.ts';
import { buildMeasured } from './program.ts';
import { fetchFromUnstable } from '../tools/peers.ts';

export async function benchRepository(): Promise<string> {
  const sources = (process.env['SALVAGE_BENCH_SOURCE'] ?? '/usr/lib').split(':');
  const rounds = Number(process.env['SALVAGE_BENCH_ROUNDS'] ?? 3);
  const scratch = mkdtempSync(join(tmpdir(), 'salvage-bench-'));
  const memory = mkdtempSync('/dev/shm/salvage-bench-');
  const restic = fetchFromUnstable('restic');
  const borg = existsSync('/usr/bin/borg') ? '/usr/bin/borg' : undefined;
  try {
    const tree = join(scratch, 'tree');
    mkdirSync(tree);
    sh(`cp -a ${sources.map(quote).join(' ')} ${quote(tree)}`);
    const repositories = ['salvage-repo', 'restic-repo', 'borg-repo'].map((name) => join(scratch, name));
    const files = globSync('**/*', { cwd: tree, withFileTypes: true }).filter((entry) => entry.isFile());
    sh(`ssh-keygen -q -t ed25519 -N '' -f ${scratch}/id`);
    const settings = [
      `export HOME=${scratch}/home XDG_CACHE_HOME=${scratch}/cache XDG_CONFIG_HOME=${scratch}/config XDG_STATE_HOME=${scratch}/state`,
      `export RESTIC_PASSWORD=x RESTIC_PROGRESS_FPS=0 BORG_PASSPHRASE=x BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes`,
      `cd ${scratch}`,
    ].join('; ');
    const at = (command: string): string => `${settings}; ${command}`;
    const salvage = await buildMeasured();
    const out: string[] = [
      `## ${new Date().toISOString().slice(0, 16)}Z, ${machineShape()}`,
      '',
      `Tree: a copy of ${describeTree(sources)}. ${rounds} rounds, medians; "faster" is the median of the ratios of the same round.`,
      '',
      '| work | who | seconds | user + sys | peak RSS MiB | salvage is … × faster |',
      '| --- | --- | --- | --- | --- | --- |',
    ];
    const row = (work: string, contestants: Contestant[]): void => {
      const settled = contestants.map((contestant) => ({
        ...contestant,
        // What the one before has left to be written to the disk must not slow this one, which waits for its own.
        before: () => {
          contestant.before?.();
          sh('sync');
          warmMemory(1.5e9);
          warmFiles([tree, ...repositories.filter(existsSync)]);
        },
      }));
      const runs = measureInTurn(settled, rounds);
      const ours = runs.get('salvage')!;
      for (const [name, theirs] of runs) out.push(line(work, name, theirs, ours));
    };

    const startOver = (): void => {
      for (const name of [
        'salvage-repo',
        'restic-repo',
        'borg-repo',
        'cache',
        'config',
        'state',
        'home',
        'allowed',
      ])
        rmSync(join(scratch, name), { recursive: true, force: true });
      mkdirSync(join(scratch, 'home'));
      sh(at(`${salvage} init --repo salvage-repo -R id.pub --name bench | grep ssh- > allowed`));
      sh(at(`${restic} init -q -r restic-repo`));
      if (borg) sh(at(`${borg} init -e repokey-blake2 borg-repo`));
    };
    let turn = 0;
    const backups = (): Contestant[] => [
      { name: 'salvage', command: at(`${salvage} backup -q --repo salvage-repo tree`) },
      { name: 'restic', command: at(`${restic} backup -q -r restic-repo tree`) },
      ...(borg ? [{ name: 'borg', command: at(`${borg} create -C zstd,3 borg-repo::a-$$ tree`) }] : []),
    ];

    row(
      'first backup',
      backups().map((contestant, index) => (index === 0 ? { ...contestant, before: startOver } : contestant)),
    );
    const sizes = (): Record<string, number> => ({
      salvage: du(`${scratch}/salvage-repo`),
      restic: du(`${scratch}/restic-repo`),
      borg: borg ? du(`${scratch}/borg-repo`) : 0,
    });
    const first = sizes();
    row('backup, nothing changed', backups());
    const before = sizes();
    // Each round changes another 1 % of the files, in the middle, keeping their size.
    row(
      'backup, 1 % changed',
      backups().map((contestant, index) =>
        index === 0
          ? {
              ...contestant,
              before: () =>
                changeFiles(
                  tree,
                  files
                    .filter((_, n) => n % 100 === turn % 100)
                    .map((entry) => join(entry.parentPath, entry.name)),
                  turn++,
                ),
            }
          : contestant,
      ),
    );
    const after = sizes();
    const empty =
      (name: string): (() => void) =>
      () =>
        rmSync(join(memory, name), { recursive: true, force: true });
    row('restore to tmpfs', [
      {
        name: 'salvage',
        command: at(`${salvage} restore latest -q --repo salvage-repo -i id --target ${memory}/salvage`),
        before: empty('salvage'),
      },
      {
        name: 'restic',
        command: at(`${restic} restore latest -q -r restic-repo --target ${memory}/restic`),
        before: empty('restic'),
      },
      { name: 'cp -a', command: `cp -a ${tree} ${memory}/cp`, before: empty('cp') },
    ]);
    sh(`diff -r --no-dereference ${tree} ${memory}/salvage/tree`);
    rmSync(memory, { recursive: true, force: true });
    row('verify, reading all', [
      {
        name: 'salvage',
        command: at(
          `${salvage} verify -q --repo salvage-repo --allowed-signers allowed --signer bench --read-data`,
        ),
      },
      { name: 'restic', command: at(`${restic} check -q -r restic-repo --read-data`) },
    ]);
    out.push(
      '',
      '| size | salvage MiB | restic MiB | borg MiB | salvage / restic |',
      '| --- | --- | --- | --- | --- |',
    );
    const size = (what: string, of: (name: string) => number): void => {
      out.push(
        `| ${what} | ${of('salvage').toFixed(1)} | ${of('restic').toFixed(1)} | ${of('borg').toFixed(1)} | ${(of('salvage') / of('restic')).toFixed(2)} |`,
      );
    };
    size('after the first backup', (name) => first[name]!);
    size(`growth by ${rounds + 1} backups with 1 % changed`, (name) => after[name]! - before[name]!);
    return out.join('\n') + '\n';
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    rmSync(memory, { recursive: true, force: true });
  }
}

function line(work: string, name: string, runs: readonly Run[], ours: readonly Run[]): string {
  const of = (pick: (run: Run) => number): number => median(runs.map(pick));
  const ratio = name === 'salvage' ? '' : medianRatio(ours, runs).toFixed(2);
  return `| ${work} | ${name} | ${of((run) => run.wallS).toFixed(2)} | ${of((run) => run.userS).toFixed(2)} + ${of((run) => run.sysS).toFixed(2)} | ${of((run) => run.peakRssMiB).toFixed(0)} | ${ratio} |`;
}

function changeFiles(tree: string, paths: readonly string[], turn: number): void {
  for (const path of paths) {
    const size = statSync(path).size;
    writeFileSync(path, randomBytes(Math.min(size, 1000)), { flag: 'r+' });
  }
  writeFileSync(join(tree, `new-file-${turn}`), randomBytes(100_000));
}

function sh(command: string): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`this failed with ${status}:\n${command}\n${stderr.slice(-2000)}`);
  return stdout;
}

const quote = (path: string): string => `'${path.replaceAll("'", `'\\''`)}'`;
const du = (path: string): number => Number(sh(`du -s --apparent-size -k ${path}`).split('\t')[0]) / 1024;
