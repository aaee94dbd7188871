import type { SourceProblem } from '../source/source-problem.ts';
import { escapeForTerminal } from '../ui/escape.ts';

/** One line for a person about something that could not be read as it is. */
export function describeProblem({ path, what, message }: SourceProblem): string {
  const name = `"${escapeForTerminal(path)}"`;
  switch (what) {
    case 'unreadable':
      return `Cannot read ${name}: ${message}`;
    case 'vanished':
      return `Cannot read ${name}: it vanished (${message})`;
    case 'changed':
      return `${name} changed: ${message}`;
    case 'skipped':
      return `${name} was left out: ${message}`;
  }
}
