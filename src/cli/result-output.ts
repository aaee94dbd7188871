import { fstatSync } from 'node:fs';
import type { FileOptions } from '../age/file/file-io.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { AgeOptions } from './age-options.ts';
import type { CliContext } from './context.ts';
import type { InputFile } from './input-file.ts';
import { isSameFile, namesFile, OutputFile } from './output-file.ts';
import { OutputClosed } from './output-closed.ts';
import { PrintableText } from './printable-text.ts';

/** How long an operation that was stopped may take to end. */
const graceMs = 500;

/**
 * Refuses to write over a file that is read in the same run, under whatever name.
 * @throws usage
 */
export function checkNotAnInput(input: string | undefined, options: AgeOptions): void {
  const { output } = options;
  if (!namesFile(output)) return;
  const inputs = [
    ...(input === undefined ? [] : [input]),
    ...(options.recipientsFile ?? []),
    ...options.identities.flatMap((flag) => ('path' in flag ? [flag.path] : [])),
  ];
  const same = inputs.find((path) => path === output || isSameFile(path, output));
  if (same !== undefined)
    throw new SalvageError('usage', `Cannot write "${output}": it is the same file as the input "${same}"`, {
      hint: 'give another name with -o',
    });
}

export function writesToTerminal(output: string | undefined, context: CliContext): boolean {
  return !namesFile(output) && context.stdout.isTerminal;
}

/** An encryption or decryption, ready to run. */
export interface Transformation {
  readonly input: InputFile;
  /** What -o says. */
  readonly output: string | undefined;
  /** What the progress line says is being done. */
  readonly label: string;
  /** From descriptor to descriptor. */
  readonly toFd: (files: FileOptions) => Promise<void>;
  /** By pieces, for input or output at a terminal. */
  readonly toPieces: () => AsyncIterable<Uint8Array>;
}

/**
 * Runs it and puts the result where -o says. A file is made when its first byte is known to be good and has its name
 * when the last one is there: after an error there is none, and an older one is as it was. On a terminal only text is
 * shown, unless -o - insists.
 */
export async function writeResult(work: Transformation, context: CliContext): Promise<void> {
  const { input, output } = work;
  if (namesFile(output)) await writeFile(work, output, context);
  else if (context.stdout.isTerminal) await writeTerminal(work, output === '-', context);
  else if (input.isTerminal) for await (const piece of work.toPieces()) await context.stdout.write(piece);
  else await writeStandardOutput(work, context);
}

async function writeFile(work: Transformation, output: string, context: CliContext): Promise<void> {
  let file: OutputFile | undefined;
  const open = (): OutputFile => (file ??= new OutputFile(output));
  try {
    if (work.input.isTerminal) {
      for await (const piece of work.toPieces()) open().write(piece);
      open().commit();
      return;
    }
    await runToFd(work, () => open().fd, context);
    open().commit();
  } finally {
    file?.[Symbol.dispose]();
  }
}

async function writeStandardOutput(work: Transformation, context: CliContext): Promise<void> {
  try {
    await runToFd(work, () => context.stdout.fd, context);
  } catch (error) {
    if (error instanceof SalvageError && error.details['system'] === 'EPIPE')
      throw new OutputClosed('standard output was closed', { cause: error });
    throw error;
  }
}

async function runToFd(work: Transformation, openOutput: () => number, context: CliContext): Promise<void> {
  const progress = context.terminal.startProgress(work.label);
  progress.setTotal(work.input.sizeBytes);
  await enlargePipes([work.input.fd, context.stdout.fd]);
  const running = work.toFd({
    inputFd: work.input.fd,
    openOutput,
    onProgress: (bytesDone) => progress.advance(bytesDone - progress.bytes),
    signal: context.signal,
  });
  try {
    await untilAborted(running, context.signal);
    // The same Ctrl-C may have ended whatever writes into our pipe: what was read then is not all there is.
    context.signal.throwIfAborted();
  } finally {
    progress.end();
  }
}

async function enlargePipes(fds: readonly number[]): Promise<void> {
  const pipes = fds.filter((fd) => fstatSync(fd).isFIFO());
  if (pipes.length === 0) return;
  const { enlargePipe } = await import('../posix/enlarge-pipe.ts');
  for (const fd of pipes) enlargePipe(fd);
}

/** Waits for the work. When the run is stopped it has a moment to end; a read that waits for a pipe does not. */
async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    setTimeout(() => reject(signal.reason as Error), graceMs);
  };
  signal.addEventListener('abort', onAbort);
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function writeTerminal(
  { input, toPieces }: Transformation,
  insists: boolean,
  context: CliContext,
): Promise<void> {
  const text = insists ? undefined : new PrintableText();
  const held: Uint8Array[] = [];
  for await (const piece of toPieces()) {
    text?.check(piece);
    // What is typed at the same terminal must not get mixed with what is shown.
    if (input.isTerminal || text?.mayStillBeRefused) held.push(Uint8Array.from(piece));
    else {
      for (const earlier of held.splice(0)) await context.stdout.write(earlier);
      await context.stdout.write(piece);
    }
  }
  text?.finish();
  for (const piece of held) await context.stdout.write(piece);
}
