import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Sleep } from '../../clock/sleep.ts';
import { sendDatagram } from '../../posix/send-datagram.ts';
import { errorCode, stateOf } from '../../posix/system-call-error.ts';
import { appendToLog, type LogFile } from './append-to-log.ts';
import { journalEntry } from './journal-entry.ts';
import { renderMetrics, type StepMemory } from './render-metrics.ts';
import { stepReportJson, type StepReport } from './step-report.ts';
import { syslogLine, type SyslogFacility } from './syslog-line.ts';

/** Where journald listens. */
export const journalSocket = '/run/systemd/journal/socket';

/** What is not there is not written. */
export interface RecordSettings {
  /** Path of journald's socket. Nothing happens where there is none. */
  readonly journal?: string | undefined;
  readonly syslog?: { readonly facility: SyslogFacility; readonly socket: string } | undefined;
  readonly logFile?: LogFile | undefined;
  /** Path of a file for the text-file collector of Prometheus. */
  readonly metricsFile?: string | undefined;
  /** Of salvage, for the metrics. */
  readonly version: string;
}

/** So long a full queue of a log daemon is waited for. */
const pausesMs = [5, 20, 75, 300, 600];

/**
 * Writes down how a step ended, in all places that the settings name. `memories` is what the metrics show: all steps of
 * the configuration, this one among them.
 * @returns a line for each place where that was not possible: to be reported, and nothing more
 */
export async function writeRecords(
  settings: RecordSettings,
  report: StepReport,
  memories: readonly StepMemory[],
  sleep: Sleep,
): Promise<string[]> {
  const { journal, syslog, logFile, metricsFile, version } = settings;
  const troubles: string[] = [];
  const attempt = async (what: string, write: () => void | Promise<void>): Promise<void> => {
    try {
      await write();
    } catch (error) {
      troubles.push(`The record was not written to ${what}: ${reasons[errorCode(error)] ?? stateOf(error)}`);
    }
  };
  if (journal !== undefined)
    await attempt('the journal', async () => {
      try {
        await send(journal, journalEntry(report), sleep);
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
      }
    });
  if (syslog)
    await attempt(`syslog at "${syslog.socket}"`, () =>
      send(syslog.socket, syslogLine(report, syslog.facility, process.pid), sleep),
    );
  if (logFile)
    await attempt(`"${logFile.path}"`, () => appendToLog(logFile, JSON.stringify(stepReportJson(report))));
  if (metricsFile !== undefined)
    await attempt(`"${metricsFile}"`, () => replaceFile(metricsFile, renderMetrics(memories, version)));
  return troubles;
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  EAGAIN: 'its queue is full',
  ENOENT: 'there is no such file or folder',
};

async function send(socket: string, datagram: Uint8Array, sleep: Sleep): Promise<void> {
  for (const pauseMs of pausesMs) {
    try {
      return sendDatagram(socket, datagram);
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN') throw error;
      await sleep(pauseMs);
    }
  }
  sendDatagram(socket, datagram);
}

/** Who reads it sees the old file or the new one, never a part. The draft's name is none that the collector looks at. */
function replaceFile(path: string, text: string): void {
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}`);
  try {
    rmSync(draft, { force: true });
    writeFileSync(draft, text, { mode: 0o644, flag: 'wx' });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}
