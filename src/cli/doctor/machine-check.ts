import { displayWidth } from '../../ui/display-width.ts';
import { escapeForTerminal } from '../../ui/escape.ts';

/** `warn`: works, and should be mended all the same. `missing` and `bad`: something that is asked for will fail. */
export type CheckState = 'ok' | 'warn' | 'missing' | 'bad';

/** One line of `salvage doctor`. */
export interface MachineCheck {
  readonly check:
    | 'salvage'
    | 'limits'
    | 'clock'
    | 'folder'
    | 'configuration'
    | 'file'
    | 'key'
    | 'program'
    | 'repository'
    | 'space'
    | 'schedule'
    | 'step'
    | 'leftover';
  /** What was looked at: a path, a name. */
  readonly subject: string;
  readonly state: CheckState;
  /** One line. */
  readonly message: string;
  /** A command line that mends it, or a sentence where no command does. */
  readonly mend?: string | undefined;
}

/** Cells of a line are separated by so much. */
const gap = '  ';

/**
 * The checks as lines that fit into the width: state, subject, and what is to be said, which goes on below itself where it is
 * long. What mends something stands on a line of its own, whole, to be copied.
 */
export function formatChecks(checks: readonly MachineCheck[], columns: number): string {
  const nameWidth = Math.max(...checks.map(({ check }) => check.length));
  const indent = ' '.repeat('missing'.length + nameWidth + 2 * gap.length);
  return checks
    .map(({ check, state, subject, message, mend }) => {
      const text = escapeForTerminal(subject === '' ? message : `${subject}: ${message}`);
      const lines = wrap(text, columns - indent.length);
      const head = `${state.padEnd('missing'.length)}${gap}${check.padEnd(nameWidth)}${gap}`;
      const first = `${head}${lines.join(`\n${indent}`)}\n`;
      if (mend === undefined) return first;
      const shown = escapeForTerminal(`mend: ${mend}`);
      // A command stays whole, to be copied; a sentence need not.
      const isSentence = /^[A-Z]/.test(mend);
      return `${first}${indent}${isSentence ? wrap(shown, columns - indent.length).join(`\n${indent}`) : shown}\n`;
    })
    .join('');
}

/** At spaces; a word that is wider than a line stays whole. */
function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && displayWidth(line) + 1 + displayWidth(word) > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
