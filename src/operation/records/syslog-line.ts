import { truncateUtf8 } from './truncate-utf8.ts';
import { firstLine, stepTitle, type StepOutcome, type StepReport } from './step-report.ts';

export type SyslogFacility =
  | 'user'
  | 'daemon'
  | 'cron'
  | 'local0'
  | 'local1'
  | 'local2'
  | 'local3'
  | 'local4'
  | 'local5'
  | 'local6'
  | 'local7';

const facilities: Readonly<Record<SyslogFacility, number>> = {
  user: 1,
  daemon: 3,
  cron: 9,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};
/** Also the PRIORITY of journald: informational, warning, error. */
export const severities: Readonly<Record<StepOutcome, number>> = { success: 6, warning: 4, failure: 3 };

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** Some relays still cut at 2 KiB, and one cannot know what they cut off. */
const mostBytes = 2000;

/**
 * The report in the form in which the C library's syslog(3) writes to the local socket, for that is what each syslogd takes
 * there whatever its settings: `<priority>Mmm dd hh:mm:ss salvage[pid]: text`, in local time. The text is a sentence and
 * then pairs that a program can take apart.
 */
export function syslogLine(report: StepReport, facility: SyslogFacility, pid: number): Uint8Array {
  const { kind, name, repository, outcome, endedAt, durationMs, message, code, snapshot, warnings } = report;
  const pairs = [
    ['step', kind],
    ['name', name],
    ['repository', repository],
    ['outcome', outcome],
    ['code', code],
    ['snapshot', snapshot],
    ['warnings', String(warnings.length)],
    ['seconds', (durationMs / 1000).toFixed(3)],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
  const priority = facilities[facility] * 8 + severities[outcome];
  const head = `<${priority}>${timestamp(endedAt)} salvage[${pid}]: `;
  const tail = ` (${firstLine(pairs)})`;
  const text = `${stepTitle(report)}: ${firstLine(message)}`;
  const room = mostBytes - Buffer.byteLength(head) - Buffer.byteLength(tail);
  return Buffer.from(`${head}${truncateUtf8(text, room)}${tail}`);
}

function timestamp(time: Date): string {
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
  return `${months[time.getMonth()]} ${String(time.getDate()).padStart(2, ' ')} ${clock}`;
}
