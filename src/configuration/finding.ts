import { SalvageError } from '../errors/salvage-error.ts';

/** A run of characters in a file. */
export interface Place {
  /** For people: the path, or the name of a variable. */
  readonly file: string;
  /** All of the file. */
  readonly text: string;
  /** From 1. */
  readonly line: number;
  /** From 0, as editors count them from 1. */
  readonly column: number;
  readonly length: number;
}

/** Something that is wrong in a configuration. */
export interface Finding {
  /** Undefined if it is wrong as a whole. */
  readonly place: Place | undefined;
  readonly message: string;
  /** The name that was probably meant. */
  readonly nearest?: string | undefined;
}

const longestLine = 100;

/** One error for all of them, with a code frame for each in its details. */
export function configurationError(findings: readonly Finding[], file: string): SalvageError {
  const inOrder = findings.toSorted(({ place: a }, { place: b }) =>
    a?.file === b?.file ? (a?.line ?? 0) - (b?.line ?? 0) : 0,
  );
  const [first] = inOrder;
  const things = findings.length === 1 ? 'one thing is wrong' : `${findings.length} things are wrong`;
  return new SalvageError('usage', `Cannot use the configuration "${file}": ${things}`, {
    hint: 'The manual has examples for each role, on the page "Operate"; salvage config check looks again.',
    details: {
      ...(first?.place && { file: first.place.file, line: first.place.line, column: first.place.column + 1 }),
      findings: findings.length,
      excerpt: inOrder.map(describeFinding).join('\n'),
    },
  });
}

/** The finding with its line, as in `salvage.toml:7:1: …`. */
function describeFinding({ place, message, nearest }: Finding): string {
  const advice = nearest === undefined ? '' : `; did you mean "${nearest}"?`;
  if (!place) return `${message}${advice}`;
  const { file, text, line, column, length } = place;
  const number = String(line);
  const source = text.split(/\r?\n/)[line - 1] ?? '';
  const from = Math.max(0, column - longestLine / 2);
  const shown = source.slice(from, from + longestLine).replaceAll('\t', ' ');
  const marks = '^'.repeat(Math.max(1, Math.min(length, shown.length - (column - from))));
  return [
    `${file}:${line}:${column + 1}: ${message}${advice}`,
    `  ${number} | ${shown}`,
    `  ${' '.repeat(number.length)} | ${' '.repeat(column - from)}${marks}`,
  ].join('\n');
}
