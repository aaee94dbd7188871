import { displayWidth } from './display-width.ts';
import { escapeForTerminal } from './escape.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Says again what another column says: left out where the table is too wide with it. */
  readonly isSpare?: boolean;
}

/**
 * Rows as aligned text, two spaces between columns, titles first, no trailing space. Every cell is escaped. Wider than
 * `mostColumns` only if it is so without the spare columns, which go one by one, the last one first.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  mostColumns: number = Infinity,
): string {
  const text = alignedText(columns, rows);
  const spare = columns.findLastIndex(({ isSpare }) => isSpare);
  if (spare < 0 || text.split('\n').every((line) => displayWidth(line) <= mostColumns)) return text;
  return formatTable(
    columns.toSpliced(spare, 1),
    rows.map((row) => row.toSpliced(spare, 1)),
    mostColumns,
  );
}

function alignedText(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map((_, at) => escapeForTerminal(row[at] ?? ''))),
  ];
  const widths = columns.map((_, at) =>
    cells.reduce((most, row) => Math.max(most, displayWidth(row[at]!)), 0),
  );
  const lines = cells.map((row) =>
    row
      .map((cell, at) => {
        const padding = ' '.repeat(widths[at]! - displayWidth(cell));
        return columns[at]!.align === 'right' ? padding + cell : cell + padding;
      })
      .join('  ')
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join('');
}
