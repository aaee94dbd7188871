import { SalvageError } from '../errors/salvage-error.ts';

/**
 * A command line as its words, by the rules of the shell for blanks, quotes and backslashes. No shell takes part: what
 * only a shell could do (variables, substitution, pipes, lists) is refused, not passed on as it stands.
 * @throws usage if a quote is left open, something needs a shell, or there is no word; `origin` says where it came from
 */
export function parseShellWords(line: string, origin: string): [program: string, ...args: string[]] {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!;
    if (character === "'" || character === '"') {
      const end = closingQuote(line, at);
      if (end < 0) throw unusable(origin, 'a quote is left open');
      const quoted = line.slice(at + 1, end);
      if (character === '"' && /(?<!\\)(?:\\\\)*[$`]/.test(quoted)) throw unusable(origin, needsShell);
      word = (word ?? '') + (character === "'" ? quoted : quoted.replace(/\\([\\"$`])/g, '$1'));
      at = end;
    } else if (character === '\\') {
      if (++at === line.length) throw unusable(origin, 'it ends with a backslash');
      word = (word ?? '') + line[at]!;
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (/[$`|&;<>()]/.test(character)) throw unusable(origin, needsShell);
    else word = (word ?? '') + character;
  }
  if (word !== undefined) words.push(word);
  const [program, ...rest] = words;
  if (program === undefined || program === '') throw unusable(origin, 'it names no program');
  if (words.some((each) => each.includes('\0'))) throw unusable(origin, 'it contains a NUL character');
  return [program, ...rest];
}

const needsShell = 'it needs a shell, and none is used';

function closingQuote(line: string, start: number): number {
  const quote = line[start];
  for (let at = start + 1; at < line.length; at++) {
    if (line[at] === quote) return at;
    if (quote === '"' && line[at] === '\\') at++;
  }
  return -1;
}

function unusable(origin: string, state: string): SalvageError {
  return new SalvageError('usage', `Cannot use the command in ${origin}: ${state}`, {
    hint: 'Give a program and its arguments, with quotes around what contains blanks, as in: ssh -F "/path/to a/config"',
  });
}
