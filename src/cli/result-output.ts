import { SalvageError } from '../errors/salvage-error.ts';
import type { AgeOptions } from './age-options.ts';
import type { CliContext } from './context.ts';
import type { InputFile } from './input-file.ts';
import { isSameFile, namesFile, OutputFile } from './output-file.ts';
import { PrintableText } from './printable-text.ts';

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

/**
 * Writes what an encryption or decryption yields to where -o says. A file is made when the first piece is there and has
 * its name when the last one is: after an error there is none, and an older one is as it was. On a terminal only text
 * is shown, unless -o - insists.
 */
export async function writeResult(
  pieces: AsyncIterable<Uint8Array>,
  input: InputFile,
  output: string | undefined,
  context: CliContext,
): Promise<void> {
  if (output !== undefined && output !== '' && output !== '-')
    await writeFile(pieces, input, output, context);
  else if (!context.stdout.isTerminal) for await (const piece of pieces) await context.stdout.write(piece);
  else await writeTerminal(pieces, input, output === '-', context);
}

async function writeFile(
  pieces: AsyncIterable<Uint8Array>,
  input: InputFile,
  output: string,
  context: CliContext,
): Promise<void> {
  const progress = context.terminal.startProgress(input.name);
  progress.setTotal(input.sizeBytes);
  let file: OutputFile | undefined;
  try {
    for await (const piece of pieces) {
      file ??= new OutputFile(output);
      file.write(piece);
      progress.advance(piece.length);
    }
    file ??= new OutputFile(output);
    file.commit();
  } finally {
    progress.end();
    file?.[Symbol.dispose]();
  }
}

async function writeTerminal(
  pieces: AsyncIterable<Uint8Array>,
  input: InputFile,
  insists: boolean,
  context: CliContext,
): Promise<void> {
  const text = insists ? undefined : new PrintableText();
  const held: Uint8Array[] = [];
  for await (const piece of pieces) {
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
