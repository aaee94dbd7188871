// The one way in which tests run programs: the real binary (or a peer) in a folder of its own, with a HOME of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** The launcher of this checkout, and what `npm test` runs in its place: the same as it is released (tools/test-programs.ts). */
export const checkoutSalvage: string = join(import.meta.dirname, '..', '..', 'salvage');
const programs = process.env['SALVAGE_TEST_PROGRAMS'];
export const salvage: string = programs === undefined ? checkoutSalvage : join(programs, 'salvage');

export interface RunOptions {
  /** Standard input: these bytes through a pipe, then its end. Without it, /dev/null. */
  readonly stdin?: string | Uint8Array;
  /** Added to the sandbox's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Relative to the sandbox's folder, which is the default. */
  readonly cwd?: string;
  /** Kills the program after so long and fails the test. Default: three minutes. */
  readonly timeoutMs?: number;
  /** Gets hold of the program while it runs: to signal it, to watch what it says. */
  readonly onStart?: (child: ChildProcess) => void;
}

export interface RunResult {
  /** The exit code; 128 + number if a signal ended it, as a shell reports it. */
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface Sandbox {
  /** The temporary folder: working directory of every run. */
  readonly folder: string;
  /** An absolute path in it. */
  path(...parts: string[]): string;
  /** Writes a file, and the folders above it. Returns its absolute path. */
  write(name: string, data: string | Uint8Array, mode?: number): string;
  read(name: string): Buffer;
  /** Runs ./salvage. Never rejects for an exit code: assert on `code`. */
  salvage(args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Runs any other program in the same surroundings. */
  program(program: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Runs a line of sh, in which `salvage` is on the PATH. Fails at the first failing command, in pipes too. */
  shell(script: string, options?: RunOptions): Promise<RunResult>;
}

/** A TestContext, or `{ after }` of node:test in the body of a suite. */
interface Lifetime {
  after(callback: () => void): void;
}

/** An empty folder with its own HOME and XDG folders, removed when the test or suite ends. */
export function createSandbox(lifetime: Lifetime): Sandbox {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-test-'));
  lifetime.after(() => rmSync(folder, { recursive: true, force: true }));
  const env = isolatedEnvironment(folder);
  const program: Sandbox['program'] = (name, args, options = {}) => run(name, args, folder, env, options);
  return {
    folder,
    path: (...parts) => join(folder, ...parts),
    write(name, data, mode) {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, data, mode === undefined ? {} : { mode });
      return path;
    },
    read: (name) => readFileSync(join(folder, name)),
    program,
    salvage: (args, options) => program(salvage, args, options),
    shell: (script, options) => program('/bin/bash', ['-eu', '-o', 'pipefail', '-c', script], options),
  };
}

function isolatedEnvironment(folder: string): Record<string, string> {
  const home = join(folder, '.home');
  const env: Record<string, string> = {
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_DATA_HOME: join(home, '.local', 'share'),
    XDG_STATE_HOME: join(home, '.local', 'state'),
    XDG_CACHE_HOME: join(home, '.cache'),
    PATH: `${dirname(salvage)}:${process.env['PATH'] ?? '/usr/bin:/bin'}`,
    LANG: 'C.UTF-8',
    TZ: 'UTC',
    TERM: 'xterm',
    TMPDIR: join(home, 'tmp'),
    USER: process.env['USER'] ?? 'root',
  };
  for (const name of [
    'HOME',
    'XDG_CONFIG_HOME',
    'XDG_DATA_HOME',
    'XDG_STATE_HOME',
    'XDG_CACHE_HOME',
    'TMPDIR',
  ])
    mkdirSync(env[name]!, { recursive: true });
  return env;
}

function run(
  program: string,
  args: readonly string[],
  folder: string,
  sandboxEnv: Readonly<Record<string, string>>,
  { stdin, env = {}, cwd = '.', timeoutMs = 180_000, onStart }: RunOptions,
): Promise<RunResult> {
  const { promise, resolve: settle, reject } = Promise.withResolvers<RunResult>();
  const merged = Object.fromEntries(
    Object.entries({ ...sandboxEnv, ...env }).filter(([, value]) => value !== undefined),
  );
  const child = spawn(program, args, {
    cwd: resolve(folder, cwd),
    env: merged,
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  onStart?.(child);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout!.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr!.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that ends before it has read everything closes the pipe: its exit code tells, not this.
  child.stdin?.on('error', () => {});
  child.stdin?.end(stdin);
  const timer = setTimeout(() => {
    child.kill('SIGKILL');
    reject(
      new Error(
        `${program} ${args.join(' ')} did not end within ${timeoutMs} ms: ${Buffer.concat(stderr).toString()}`,
      ),
    );
  }, timeoutMs);
  child.on('error', reject);
  child.on('close', (code, signal) => {
    clearTimeout(timer);
    settle({
      code: code ?? 128 + constants.signals[signal!],
      stdout: Buffer.concat(stdout),
      stderr: Buffer.concat(stderr).toString(),
    });
  });
  return promise;
}
