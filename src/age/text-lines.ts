import { SalvageError } from '../errors/salvage-error.ts';

/** age's limits for files of recipients and of identities. */
export const maxKeyFileBytes: number = 16 * 1024 * 1024;
const maxLineBytes = 8 * 1024;

export interface TextLine {
  readonly number: number;
  readonly text: string;
}

/**
 * The lines of a recipients or identity file (C2SP age.md; age(1)), without empty lines and comments. `what` names the file in
 * messages: `recipients file "x"`.
 * @throws bad-key if the file is too large, not UTF-8, or has a line that is too long
 */
export function readTextLines(bytes: Uint8Array, what: string): TextLine[] {
  if (bytes.length > maxKeyFileBytes)
    throw new SalvageError('bad-key', `Cannot read the ${what}: it is larger than 16 MiB`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SalvageError('bad-key', `Cannot read the ${what}: it is not UTF-8 text`);
  }
  const lines: TextLine[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.length > maxLineBytes)
      throw new SalvageError('bad-key', `Cannot read the ${what}: line ${index + 1} is longer than 8 KiB`);
    lines.push({ number: index + 1, text: line });
  }
  return lines;
}

/** Runs `parse` on a line, and says of a failure in which line of which file it is. */
export function parseLine<T>(line: TextLine, what: string, parse: (text: string) => T): T {
  try {
    return parse(line.text);
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    // Messages read "Cannot <do what>: <state>", and what cannot be done is now to use the line.
    const state = error.message.slice(error.message.indexOf(': ') + 2);
    throw new SalvageError(error.code, `Cannot use line ${line.number} of the ${what}: ${state}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      details: { line: line.number },
    });
  }
}
