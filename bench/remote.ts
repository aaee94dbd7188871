// npm run bench -- remote: what a round trip of 50 ms (SALVAGE_BENCH_ROUND_TRIP_MS) costs, over sftp:// and ssh:// through a link between two network
// namespaces (test/support/network-link.ts; needs root). Each round has the same work without and with the round trip, one
// after the other; compared are the two of a round. SALVAGE_BENCH_SOURCE=DIR gives a tree (default: one that is made,
// SALVAGE_BENCH_MIB large), SALVAGE_BENCH_ROUNDS the number of counted rounds (3), SALVAGE_BENCH_SCHEMES=ssh one scheme,
// SALVAGE_BENCH_WORKS=1 the first so many kinds of work. On a busy machine a longer round trip and a small tree tell how
// many round trips a run waits for.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNetworkLink, type NetworkLink } from '../test/support/network-link.ts';
import { startSshd } from '../test/support/sshd.ts';
import { machineShape, median, warmFiles, warmMemory } from './measure.ts';

const salvage = join(import.meta.dirname, '..', 'salvage');
const roundTripMs = Number(process.env['SALVAGE_BENCH_ROUND_TRIP_MS'] ?? 50);

interface Work {
  readonly name: string;
  /** The arguments of salvage. */
  readonly args: readonly string[];
  readonly before?: () => Promise<void>;
}

type Pair = readonly [nearS: number, farS: number];

export async function benchRemote(): Promise<string> {
  const given = process.env['SALVAGE_BENCH_SOURCE'];
  const mebibytes = Number(process.env['SALVAGE_BENCH_MIB'] ?? 768);
  const rounds = Number(process.env['SALVAGE_BENCH_ROUNDS'] ?? 3);
  const kinds = Number(process.env['SALVAGE_BENCH_WORKS'] ?? 99);
  const schemes = (process.env['SALVAGE_BENCH_SCHEMES'] ?? 'sftp,ssh').split(',');
  const scratch = mkdtempSync(join(tmpdir(), 'salvage-bench-'));
  const endings: (() => Promise<void>)[] = [];
  const lifetime = { after: (callback: () => Promise<void>): void => void endings.unshift(callback) };
  const out = [
    `## ${new Date().toISOString().slice(0, 16)}Z, ${machineShape()}`,
    '',
    `Tree: ${given === undefined ? `made, ${mebibytes} MiB of text-like files` : `a copy of ${given}`}. ${rounds} rounds, medians; what it costs is the median of the differences and ratios of the same round.`,
    '',
    `| work | storage | seconds at 0 ms | at ${roundTripMs} ms | costs | round trips | ratio |`,
    '| --- | --- | --- | --- | --- | --- | --- |',
  ];
  try {
    const tree = join(scratch, 'tree');
    if (given === undefined) makeTree(tree, mebibytes);
    else await run(['cp', '-a', given, tree], scratch);
    await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', 'id'], scratch);
    const link = await startNetworkLink(lifetime, { roundTripMs: 0, loss: 0 });
    const sshd = await startSshd(lifetime, {
      network: { host: link.serverAddress, enter: link.atServer },
    });
    const served = join(scratch, 'served');
    mkdirSync(served);
    const forced = `command="${salvage} serve --stdio --root ${served} --allow-remove",restrict`;
    for (const scheme of schemes) {
      const isSftp = scheme === 'sftp';
      const { sshCommand } = isSftp ? sshd.client : sshd.addClient('served', forced);
      const url = isSftp ? sshd.url('repo') : `ssh://${sshd.user}@${sshd.host}:${sshd.port}/repo`;
      const place = new Place(scratch, link, sshCommand);
      const backup = ['backup', '-q', '--repo', url, tree];
      const startOver = async (): Promise<void> => {
        for (const folder of [sshd.folder, served])
          for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
        place.forget();
        await place.init(url);
      };
      let turn = 0;
      const reading = ['--repo', url, '-i', 'id'];
      const signer = ['--allowed-signers', 'allowed', '--signer', 'bench'];
      const works: readonly Work[] = [
        { name: 'first backup', args: backup, before: startOver },
        { name: 'backup, nothing changed', args: backup },
        {
          name: 'backup, 1 % changed',
          args: backup,
          before: async () => await Promise.resolve(changeFiles(tree, turn++)),
        },
        {
          name: 'restore',
          args: ['restore', 'latest', '-q', ...reading, '--target', 'restored'],
          before: async () =>
            await Promise.resolve(rmSync(join(scratch, 'restored'), { recursive: true, force: true })),
        },
        { name: 'one small file', args: ['cat', 'latest', smallestFile(tree), ...reading] },
        { name: 'snapshots', args: ['snapshots', '--repo', url] },
        { name: 'verify', args: ['verify', '-q', '--repo', url, ...signer] },
      ];
      for (const { name, args, before } of works.slice(0, kinds)) {
        const pairs: Pair[] = [];
        for (let round = -1; round < rounds; round++) {
          const seconds: number[] = [];
          for (const ms of [0, roundTripMs]) {
            link.set({ roundTripMs: 0, loss: 0 });
            await before?.();
            await run(['sync'], scratch);
            warmMemory(1e9);
            warmFiles([tree]);
            link.set({ roundTripMs: ms, loss: 0 });
            seconds.push(await place.salvage(args));
          }
          if (round >= 0) pairs.push([seconds[0]!, seconds[1]!]);
        }
        out.push(row(name, `${scheme}://`, pairs));
        console.error(out.at(-1));
      }
      rmSync(join(scratch, 'restored'), { recursive: true, force: true });
    }
    return `${out.join('\n')}\n`;
  } finally {
    for (const end of endings) await end();
    rmSync(scratch, { recursive: true, force: true });
  }
}

function row(work: string, storage: string, pairs: readonly Pair[]): string {
  const of = (pick: (pair: Pair) => number): number => median(pairs.map(pick));
  const costS = of(([near, far]) => far - near);
  return `| ${work} | ${storage} | ${of(([near]) => near).toFixed(2)} | ${of(([, far]) => far).toFixed(2)} | ${costS.toFixed(2)} s | ${((costS * 1000) / roundTripMs).toFixed(0)} | ${of(([near, far]) => far / near).toFixed(2)} |`;
}

/** A host at the client's end of the link. */
class Place {
  readonly #scratch: string;
  readonly #enter: readonly string[];
  readonly #env: Record<string, string>;

  constructor(scratch: string, link: NetworkLink, sshCommand: string) {
    this.#scratch = scratch;
    this.#enter = link.atClient;
    const folder = (name: string): string => join(scratch, 'host', name);
    this.#env = {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      HOME: folder('home'),
      XDG_CACHE_HOME: folder('cache'),
      XDG_CONFIG_HOME: folder('config'),
      XDG_STATE_HOME: folder('state'),
      SALVAGE_SSH: sshCommand,
    };
    this.forget();
  }

  /** As if nothing had ever been backed up from here. */
  forget(): void {
    rmSync(join(this.#scratch, 'host'), { recursive: true, force: true });
    mkdirSync(join(this.#scratch, 'host', 'home'), { recursive: true });
  }

  /** Makes a repository, and the file of those who may sign for it. */
  async init(url: string): Promise<void> {
    const [program, ...args] = [...this.#enter, salvage, 'init', '--repo', url, '-R', 'id.pub'];
    const line = [program, ...args, '--name', 'bench'].join(' ');
    await run(['sh', '-c', `${line} | grep ssh- > allowed`], this.#scratch, this.#env);
  }

  /** Returns the seconds that it took. */
  async salvage(args: readonly string[]): Promise<number> {
    return await run([...this.#enter, salvage, ...args], this.#scratch, this.#env);
  }
}

/** Returns the seconds that it took. Unlike spawnSync it lets what the link says be read. */
async function run(
  [program, ...args]: readonly string[],
  cwd: string,
  env?: Record<string, string>,
): Promise<number> {
  const started = performance.now();
  const child = spawn(program!, args, { cwd, env: env ?? process.env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed with ${code}:\n${said.slice(-2000)}`);
  return (performance.now() - started) / 1000;
}

const filesInFolder = 64;
const wordCount = 20_000;

/** Files from 1 KiB to 1 MiB of words, the frequent ones far more often: about as compressible as /usr/share. */
function makeTree(folder: string, mebibytes: number): void {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const words = Array.from({ length: wordCount }, () => `${Math.floor(random() * 2 ** 40).toString(36)} `);
  let left = mebibytes * 2 ** 20;
  for (let file = 0; left > 0; file++) {
    const size = Math.min(left, Math.floor(1024 * 2 ** (random() ** 2 * 10)));
    const bytes = Buffer.allocUnsafe(size + 64);
    for (let at = 0; at < size;)
      at += bytes.write(words[Math.floor(random() ** 3 * wordCount)]!, at, 'latin1');
    const parent = join(folder, `d${Math.floor(file / filesInFolder)}`);
    if (file % filesInFolder === 0) mkdirSync(parent, { recursive: true });
    writeFileSync(join(parent, `f${file}`), bytes.subarray(0, size));
    left -= size;
  }
}

function regularFiles(tree: string): string[] {
  return readdirSync(tree, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Another hundredth of the files each time. */
function changeFiles(tree: string, turn: number): void {
  for (const [index, file] of regularFiles(tree).entries())
    if (index % 100 === turn % 100) writeFileSync(file, `${turn}`, { flag: 'a' });
}

function smallestFile(tree: string): string {
  return regularFiles(tree)[0]!;
}
