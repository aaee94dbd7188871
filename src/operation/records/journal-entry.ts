import { severities } from './syslog-line.ts';
import { truncateUtf8 } from './truncate-utf8.ts';
import { firstLine, stepTitle, type StepReport } from './step-report.ts';

/** What `journalctl MESSAGE_ID=…` finds: the end of a step, whatever it was. */
const messageId = '7a0f6f1f3f6e4c52a1c0a6b2c7a9d5e4';
/** A datagram that is larger needs a file of its own, and nobody reads so much. */
const mostValueBytes = 16 * 1024;

/**
 * The report in journald's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): `NAME=value` on a line, or the name,
 * the length and the value where the value has lines itself.
 */
export function journalEntry(report: StepReport): Uint8Array {
  const { kind, name, repository, host, outcome, message, hint, code, snapshot, warnings, durationMs } =
    report;
  const fields: [name: string, value: string | undefined][] = [
    ['MESSAGE', `${stepTitle(report)}: ${firstLine(message)}`],
    ['MESSAGE_ID', messageId],
    ['PRIORITY', String(severities[outcome])],
    ['SYSLOG_IDENTIFIER', 'salvage'],
    ['SALVAGE_STEP', kind],
    ['SALVAGE_NAME', name],
    ['SALVAGE_REPOSITORY_NAME', repository],
    ['SALVAGE_HOST', host],
    ['SALVAGE_OUTCOME', outcome],
    ['SALVAGE_CODE', code],
    ['SALVAGE_HINT', hint],
    ['SALVAGE_SNAPSHOT', snapshot],
    ['SALVAGE_DURATION_SECONDS', (durationMs / 1000).toFixed(3)],
    ['SALVAGE_WARNINGS', warnings.length === 0 ? undefined : warnings.map(firstLine).join('\n')],
  ];
  return Buffer.concat(
    fields.flatMap(([field, value]) => (value === undefined ? [] : [encodeField(field, value)])),
  );
}

function encodeField(name: string, whole: string): Uint8Array {
  const value = truncateUtf8(whole, mostValueBytes);
  if (!value.includes('\n')) return Buffer.from(`${name}=${value}\n`);
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')]);
}
