// Paired timings of whole processes. Machines drift, so peers are run in turn (A B A B …) and compared pair by pair.
import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One run of a command, with everything it started, as the kernel accounted for it. */
export interface Run {
  readonly wallS: number;
  readonly userS: number;
  readonly sysS: number;
  /** The largest single process. */
  readonly peakRssMiB: number;
}

export interface Contestant {
  readonly name: string;
  /** A line for `sh -c`. It must succeed. */
  readonly command: string;
  /** Run before each measured run, unmeasured: removes what the last one made. */
  readonly before?: () => void;
}

/** Runs `command` once under GNU time; throws if it fails. */
export function measure(command: string): Run {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-bench-'));
  try {
    const file = join(folder, 'time');
    const started = performance.now();
    const { status, stderr } = spawnSync(
      '/usr/bin/time',
      ['-f', '%U %S %M', '-o', file, 'sh', '-c', command],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        encoding: 'utf8',
        maxBuffer: 1 << 26,
      },
    );
    const wallS = (performance.now() - started) / 1000;
    if (status !== 0) throw new Error(`this failed with ${status}:\n${command}\n${stderr.slice(-2000)}`);
    const [userS, sysS, kib] = readFileSync(file, 'utf8').trim().split(' ').map(Number);
    return { wallS, userS: userS!, sysS: sysS!, peakRssMiB: kib! / 1024 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Makes a virtual machine hold memory for what the next run writes. A guest gives freed memory back to its host, and pays
 * for every page when it asks again, up to four times a run's whole system time: whoever runs first would pay for all.
 */
export function warmMemory(bytes: number): void {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'salvage-bench-'));
  const zeros = Buffer.alloc(1 << 20);
  const file = openSync(join(folder, 'zeros'), 'wx');
  for (let written = 0; written < bytes; written += zeros.length) writeSync(file, zeros);
  closeSync(file);
  rmSync(folder, { recursive: true });
}

/**
 * Brings files into the page cache: a kernel that reclaims what nobody has read for a minute (DAMON) would otherwise let
 * whoever runs first read from the disk, and everybody after it from memory.
 */
export function warmFiles(folders: readonly string[]): void {
  for (const folder of folders)
    spawnSync('sh', ['-c', `find '${folder}' -type f -exec cat {} + > /dev/null`]);
}

/** Runs all contestants `rounds` times in turn, after one round that is not counted. */
export function measureInTurn(contestants: readonly Contestant[], rounds: number): Map<string, Run[]> {
  const runs = new Map<string, Run[]>(contestants.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const { name, command, before } of contestants) {
      before?.();
      const run = measure(command);
      if (round >= 0) runs.get(name)!.push(run);
    }
  }
  return runs;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** How many times faster `a` was than `b`: the median of the ratios of the runs of the same round. */
export function medianRatio(a: readonly Run[], b: readonly Run[]): number {
  return median(a.map((run, round) => b[round]!.wallS / run.wallS));
}

/** `/usr/lib and /usr/share, 52000 files, 700 MiB` */
export function describeTree(folders: readonly string[]): string {
  const sum = (command: string): number =>
    folders.reduce(
      (total, folder) => total + parseInt(spawnSync('sh', ['-c', command, '', folder]).stdout.toString()),
      0,
    );
  const files = sum('find "$1" -type f | wc -l');
  return `${folders.join(' and ')}, ${files} files, ${sum('du -sm "$1"')} MiB`;
}

/** `2 cores (Intel …), 24 GiB, Node 24.21.0` */
export function machineShape(): string {
  const list = cpus();
  return `${list.length} cores (${list[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}
