// encrypt and decrypt against the age command: whole processes, 1 GiB, in turn.
import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { age13, age13Folder } from '../test/support/peers.ts';
import { measureInTurn, warmMemory } from './measure.ts';
import type { Run } from './measure.ts';
import { buildMeasured } from './program.ts';

const fileBytes = 1024 * 1024 * 1024;

interface PairedResult {
  readonly work: string;
  /** Median over the rounds of the peer's time divided by ours: above 1, we are faster. */
  readonly ratio: number;
  readonly ours: Run;
  readonly peer: Run;
}

/** Prints and returns our speed relative to age's: files on several threads, and pipes in order. */
async function benchEncryptDecrypt(rounds = 5): Promise<PairedResult[]> {
  const folder = mkdtempSync(join(scratchFolder(), 'salvage-bench-age-'));
  try {
    const salvage = await buildMeasured();
    const path = (name: string): string => join(folder, name);
    writeRandomFile(path('plain'));
    execFileSync(join(age13Folder, 'age-keygen'), ['-o', path('key')], { stdio: 'ignore' });
    const recipient = execFileSync(join(age13Folder, 'age-keygen'), ['-y', path('key')], {
      encoding: 'utf8',
    }).trim();
    execFileSync(age13, ['-r', recipient, '-o', path('sealed'), path('plain')]);

    const encrypt = `-r ${recipient}`;
    const decrypt = `-i ${path('key')}`;
    const works: [work: string, command: string, args: string, shape: (command: string) => string][] = [
      ['encrypt a file', 'encrypt', encrypt, (command) => `${command} -o ${path('out')} ${path('plain')}`],
      ['decrypt a file', 'decrypt', decrypt, (command) => `${command} -o ${path('out')} ${path('sealed')}`],
      [
        'encrypt through pipes',
        'encrypt',
        encrypt,
        (command) => `cat ${path('plain')} | ${command} | cat > /dev/null`,
      ],
      [
        'decrypt through pipes',
        'decrypt',
        decrypt,
        (command) => `cat ${path('sealed')} | ${command} | cat > /dev/null`,
      ],
    ];
    const results: PairedResult[] = [];
    for (const [work, name, args, shape] of works) {
      const before = (): void => {
        rmSync(path('out'), { force: true });
        warmMemory(fileBytes * 1.1);
      };
      const runs = measureInTurn(
        [
          { name: 'salvage', command: shape(`${salvage} ${name} ${args}`), before },
          { name: 'age', command: shape(`${age13} --${name} ${args}`), before },
        ],
        rounds,
      );
      const result = pair(work, runs.get('salvage')!, runs.get('age')!);
      results.push(result);
      console.log(describe(result));
    }
    return results;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The table of `benchEncryptDecrypt` in Markdown. */
export async function benchAge(rounds?: number): Promise<string> {
  const results = await benchEncryptDecrypt(rounds);
  return [
    '| 1 GiB, whole process | salvage s | age s | salvage is … × faster |',
    '| --- | --- | --- | --- |',
    ...results.map(
      ({ work, ours, peer, ratio }) =>
        `| ${work} | ${ours.wallS.toFixed(2)} | ${peer.wallS.toFixed(2)} | ${ratio.toFixed(2)} |`,
    ),
    '',
  ].join('\n');
}

function pair(work: string, ours: readonly Run[], peers: readonly Run[]): PairedResult {
  const ratios = ours.map((run, round) => peers[round]!.wallS / run.wallS).toSorted((a, b) => a - b);
  const middle = (runs: readonly Run[]): Run =>
    runs.toSorted((a, b) => a.wallS - b.wallS)[Math.floor(runs.length / 2)]!;
  return { work, ratio: ratios[Math.floor(ratios.length / 2)]!, ours: middle(ours), peer: middle(peers) };
}

function describe({ work, ratio, ours, peer }: PairedResult): string {
  const run = ({ wallS, userS, sysS, peakRssMiB }: Run): string =>
    `${wallS.toFixed(2)} s (${userS.toFixed(2)} + ${sysS.toFixed(2)}), ${peakRssMiB.toFixed(0)} MiB`;
  return `${work.padEnd(24)} ${ratio.toFixed(2)} x the speed of age   salvage ${run(ours)}   age ${run(peer)}`;
}

/** Memory, where there is enough: what is compared is programs, not disks. */
function scratchFolder(): string {
  const memory = '/dev/shm';
  if (!existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize > 4 * fileBytes ? memory : tmpdir();
}

function writeRandomFile(path: string): void {
  const fd = openSync(path, 'wx');
  const block = new Uint8Array(16 * 1024 * 1024);
  for (let written = 0; written < fileBytes; written += block.length) writeSync(fd, randomFillSync(block));
  closeSync(fd);
}
