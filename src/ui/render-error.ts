import { inspect, type styleText } from 'node:util';
import { SalvageError } from '../errors/salvage-error.ts';
import { escapeForTerminal } from './escape.ts';

type ApplyStyle = (style: Parameters<typeof styleText>[0], text: string) => string;

const maxCauses = 8;

/**
 * The user's problem: `salvage: MESSAGE`, the lines of `details.excerpt` if a file is what is wrong, the hint on the next
 * line, and with `verbose` the chain of causes.
 */
export function renderError(error: SalvageError, verbose: boolean, style: ApplyStyle): string[] {
  const lines = [`${style('red', 'salvage:')} ${escapeForTerminal(error.message)}`];
  const { excerpt } = error.details;
  if (typeof excerpt === 'string') lines.push(...excerpt.split('\n').map((line) => escapeForTerminal(line)));
  if (error.hint !== undefined) lines.push(`${style('cyan', 'hint:')} ${escapeForTerminal(error.hint)}`);
  if (verbose) {
    for (const cause of causesOf(error))
      lines.push(`${style('dim', 'because:')} ${escapeForTerminal(cause)}`);
  }
  return lines;
}

/** Our bug: what to send where, with the stack. */
export function renderBug(error: unknown): string[] {
  const trace = error instanceof Error ? (error.stack ?? error.message) : inspect(error);
  return [
    'salvage: this is a bug in salvage, not a mistake of yours.',
    'hint: please report it with the command you ran and the lines below.',
    ...trace.split('\n').map((line) => `  ${escapeForTerminal(line).trimEnd()}`),
    ...causesOf(error).map((cause) => `  because: ${escapeForTerminal(cause)}`),
  ];
}

/** One line of JSON: {"error": {"code", "message", "hint"?, "details"?}}; the code of a bug is "bug". */
export function renderJsonError(error: unknown): string {
  if (!(error instanceof SalvageError))
    return JSON.stringify({
      error: { code: 'bug', message: error instanceof Error ? error.message : inspect(error) },
    });
  const { code, message, hint, details } = error;
  const withDetails = Object.keys(details).length > 0 ? { details } : {};
  return JSON.stringify({
    error: { code, message, ...(hint === undefined ? {} : { hint }), ...withDetails },
  });
}

function causesOf(error: unknown): string[] {
  const causes: string[] = [];
  let current = error instanceof Error ? error.cause : undefined;
  while (current !== undefined && causes.length < maxCauses) {
    causes.push(current instanceof Error ? current.message : inspect(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  return causes;
}
