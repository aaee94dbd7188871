// npm run bench -- archive: seal against the recipe and its fastest relative, then encrypt and decrypt against age.
// SALVAGE_BENCH_SOURCE=DIR[:DIR…] chooses the tree (default /usr/share), SALVAGE_BENCH_ROUNDS the number of counted rounds (3).
// The sources come from the page cache; all archives go to a file in the scratch folder (TMPDIR).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { age13 } from '../test/support/peers.ts';
import { benchAge } from './age.ts';
import {
  describeTree,
  machineShape,
  measureInTurn,
  median,
  medianRatio,
  warmFiles,
  warmMemory,
  type Run,
} from './measure.ts';
import { buildMeasured } from './program.ts';

/** A section in Markdown: what was measured, on what, and the ratios to each peer of the same rounds. */
export async function benchArchive(): Promise<string> {
  const sources = (process.env['SALVAGE_BENCH_SOURCE'] ?? '/usr/share').split(':');
  const rounds = Number(process.env['SALVAGE_BENCH_ROUNDS'] ?? 3);
  const scratch = mkdtempSync(join(tmpdir(), 'salvage-bench-'));
  try {
    sh(`ssh-keygen -q -t ed25519 -N '' -f ${scratch}/id`);
    const encrypt = `${age13} -R ${scratch}/id.pub`;
    const salvage = await buildMeasured();
    const tree = sources.map((source) => source.replace(/^\//, '')).join(' ');
    const commands: Record<string, string> = {
      'salvage seal': `cd /; ${salvage} seal -q ${tree} -R ${scratch}/id.pub -o OUT`,
      'tar zc | age': `cd /; tar -zc ${tree} | ${encrypt} > OUT`,
      'tar c | zstd -3 -T2 | age': `cd /; tar -c ${tree} | zstd -q -3 -T2 | ${encrypt} > OUT`,
    };
    const names = Object.keys(commands);
    const outputs = new Map(names.map((name, index) => [name, join(scratch, `${index}.age`)]));
    const contestants = names.map((name) => ({
      name,
      command: commands[name]!.replace('OUT', outputs.get(name)!),
      // What the one before has left to be written to the disk must not slow this one, which waits for its own.
      before: () => {
        rmSync(outputs.get(name)!, { force: true });
        sh('sync');
        warmMemory(1e9);
        warmFiles(sources);
      },
    }));
    const runs = measureInTurn(contestants, rounds);
    const ours = runs.get('salvage seal')!;
    const lines = names.map((name) => line(name, runs.get(name)!, ours, statSync(outputs.get(name)!).size));
    const age = await benchAge(rounds);
    return [
      `## ${new Date().toISOString().slice(0, 16)}Z, ${machineShape()}`,
      '',
      `Tree: ${describeTree(sources)}. ${rounds} rounds, medians; "faster" is the median of the ratios of the same round.`,
      '',
      '| work | seconds | user + sys | peak RSS MiB | archive MB | salvage is … × faster |',
      '| --- | --- | --- | --- | --- | --- |',
      ...lines,
      '',
      age,
    ].join('\n');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function line(name: string, runs: readonly Run[], ours: readonly Run[], sizeBytes: number): string {
  const middle = (value: (run: Run) => number): string => median(runs.map(value)).toFixed(2);
  const faster = runs === ours ? '' : medianRatio(ours, runs).toFixed(2);
  const cpu = `${middle(({ userS }) => userS)} + ${middle(({ sysS }) => sysS)}`;
  const rss = median(runs.map(({ peakRssMiB }) => peakRssMiB)).toFixed(0);
  return `| ${name.replaceAll('|', '\\|')} | ${middle(({ wallS }) => wallS)} | ${cpu} | ${rss} | ${(sizeBytes / 1e6).toFixed(1)} | ${faster} |`;
}

function sh(command: string): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`this failed with ${status}:\n${command}\n${stderr}`);
  return stdout.trim();
}
