import type { SalvageError } from '../errors/salvage-error.ts';
import { formatDuration } from '../ui/duration.ts';
import { escapeForTerminal } from '../ui/escape.ts';
import { worstState, type MonitoringState, type RepositoryReport } from './judge-repository.ts';

/** Older versions of Nagios cut what plugins print after 4 KiB. */
const mostTextCharacters = 1000;

/**
 * One line as https://www.monitoring-plugins.org/doc/guidelines.html has it: `SERVICE STATE: text | 'label'=value…`, with age, size and
 * number of snapshots of each repository.
 */
export function nagiosLine(
  reports: readonly RepositoryReport[] | SalvageError,
  now: Date,
): { readonly line: string; readonly state: MonitoringState } {
  if (reports instanceof Error)
    return { line: `SALVAGE UNKNOWN: ${plainText(reports.message)}`, state: 'unknown' };
  const state = worstState(reports.map(({ judgement }) => judgement.state));
  const performance = reports.flatMap((report) => performanceOf(report, now)).join(' ');
  return {
    line: `SALVAGE ${state.toUpperCase()}: ${plainText(describe(reports, now))}${performance === '' ? '' : ` | ${performance}`}`,
    state,
  };
}

function describe(reports: readonly RepositoryReport[], now: Date): string {
  const bad = reports.filter(({ judgement }) => judgement.state !== 'ok');
  const count = `${reports.length - bad.length} of ${reports.length} repositories ok`;
  if (bad.length > 0)
    return `${count}; ${bad.map(({ finding, judgement }) => `${finding.name}: ${judgement.reasons.join(', ')}`).join('; ')}`;
  const oldest = Math.max(...reports.map(({ finding }) => now.getTime() - (finding.newest?.getTime() ?? 0)));
  return `${count}, the oldest newest snapshot was made ${formatDuration(oldest)} ago`;
}

function performanceOf({ finding }: RepositoryReport, now: Date): string[] {
  const { name, newest, snapshots, stored } = finding;
  const label = (what: string): string => `'${name.replace(/['=|\s]/g, '_')}_${what}'`;
  return [
    ...(newest ? [`${label('age')}=${Math.round((now.getTime() - newest.getTime()) / 1000)}s`] : []),
    ...(stored ? [`${label('stored')}=${stored.bytes}B`] : []),
    ...(snapshots === undefined ? [] : [`${label('snapshots')}=${snapshots}`]),
  ];
}

/** A "|" ends the text. */
function plainText(text: string): string {
  const plain = escapeForTerminal(text).replaceAll('|', '/');
  return plain.length <= mostTextCharacters ? plain : `${plain.slice(0, mostTextCharacters)}…`;
}
