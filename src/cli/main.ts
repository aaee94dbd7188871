#!/usr/bin/env node
import type { ErrorCode } from '../errors/salvage-error.ts';
import type { MonitoringState } from './judge-repository.ts';
import { version } from './version.ts';

/** The one table of exit codes. 0 done; 3 done, but some sources could not be read. */
const exitCodes: Readonly<Record<ErrorCode, number>> = {
  failed: 1,
  'bad-key': 1,
  usage: 2,
  'no-repository': 10,
  busy: 11,
  'no-identity-match': 12,
  'bad-signature': 13,
  'age-header': 13,
  'age-hmac': 13,
  'age-payload': 13,
  'age-armor': 13,
  damaged: 13,
  interrupted: 130,
};
const exitIncomplete = 3;
/** What Nagios and its like take the exit code of a plugin for; only with a flag that asks for it. */
const monitoringExitCodes: Readonly<Record<MonitoringState, number>> = {
  ok: 0,
  warning: 1,
  critical: 2,
  unknown: 3,
};
/** Anything thrown that is not a SalvageError: a bug. */
const exitBug = 1;

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === '--version' || args[0] === '-V') {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  // Loaded only now: `--version` stays an empty program.
  const [{ createProcessContext }, { OutputClosed }, { runCommand }, { SalvageError }] = await Promise.all([
    import('./process-context.ts'),
    import('./output-closed.ts'),
    import('./run-command.ts'),
    import('../errors/salvage-error.ts'),
  ]);
  const context = createProcessContext();
  const report = (error: unknown): number => {
    if (error instanceof OutputClosed) return exitCodes.failed;
    context.terminal.error(error);
    return error instanceof SalvageError ? exitCodes[error.code] : exitBug;
  };
  process.on('uncaughtException', (error) => process.exit(report(error)));
  try {
    try {
      await runCommand(args, context);
    } finally {
      await context.end();
    }
    if (context.answered) return monitoringExitCodes[context.answered];
    return context.isIncomplete ? exitIncomplete : 0;
  } catch (error) {
    const code = report(error);
    // Ends as the signal would have ended it, so that a calling shell stops too; shells report 128 + its number.
    if (code === exitCodes.interrupted && context.stoppedBy !== undefined)
      process.kill(process.pid, context.stoppedBy);
    return code;
  }
}

// Not awaited: a bundle of this file is CommonJS.
void main(process.argv.slice(2)).then((code) => process.exit(code));
