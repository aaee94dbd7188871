import { displayWidth } from './display-width.ts';
import { escapeForTerminal } from './escape.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Rows as aligned text, two spaces between columns, titles first, no trailing space. Every cell is escaped. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
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
