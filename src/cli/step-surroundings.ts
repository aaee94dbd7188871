import { readSecretLine } from '../keys/passphrase-source.ts';
import { systemSleep } from '../clock/sleep.ts';
import type { Configuration } from '../configuration/configuration.ts';
import { planSteps } from '../configuration/plan-steps.ts';
import type { Secret } from '../configuration/schema/values.ts';
import type { AlarmSettings, SecretSource } from '../operation/alarms/alarm-settings.ts';
import { sendAlarms, sendStartPings, type AlarmSurroundings } from '../operation/alarms/send-alarms.ts';
import {
  runHooksAfter,
  runHooksBefore,
  type Hook,
  type HookSurroundings,
} from '../operation/hooks/run-hooks.ts';
import type { StepMemory } from '../operation/records/render-metrics.ts';
import type { Step, StepReport } from '../operation/records/step-report.ts';
import { journalSocket, writeRecords, type RecordSettings } from '../operation/records/write-records.ts';
import type { RunState } from '../operation/run/run-state.ts';
import type { Terminal } from '../ui/terminal.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './parse-duration.ts';
import { parseSize } from './parse-size.ts';
import { version } from './version.ts';

/** A command that asks a password manager must not hold up a run for ever. */
const secretTimeoutMs = 60_000;

/** What a configuration wants to happen around each step of a run: hooks, alarms and records. */
export class StepSurroundings {
  readonly #configuration: Configuration;
  readonly #context: CliContext;
  readonly #state: RunState;
  readonly #hooks: readonly Hook[];
  readonly #alarms: AlarmSettings;
  readonly #records: RecordSettings;
  /** By step. */
  readonly #startPings = new Map<string, Promise<string[]>>();
  #recorded: Promise<unknown> = Promise.resolve();

  constructor(configuration: Configuration, state: RunState, context: CliContext) {
    this.#configuration = configuration;
    this.#context = context;
    this.#state = state;
    this.#hooks = configuration.settings.hooks.map(({ timeout, ...hook }) => ({
      ...hook,
      timeoutMs: parseDuration(timeout, 'timeout'),
    }));
    this.#alarms = alarmSettings(configuration);
    this.#records = recordSettings(configuration);
  }

  /** In front of a step. @throws failed if a hook before it fails: it must not happen then; interrupted */
  async begin(step: Step, terminal: Terminal): Promise<void> {
    const { signal } = this.#context;
    // Nobody waits for a service that does not answer.
    const pings = sendStartPings(this.#alarms, step, this.#alarmSurroundings(), signal).catch(() => []);
    this.#startPings.set(keyOf(step), pings);
    await runHooksBefore(this.#hooks, step, this.#hookSurroundings(terminal), signal);
  }

  /**
   * When a step has ended and is in the state. What cannot be told is told to whoever looks at the terminal, and a hook that
   * failed makes the run one with warnings. Never throws.
   */
  async end(report: StepReport, terminal: Terminal): Promise<void> {
    const hookTroubles = await runHooksAfter(this.#hooks, report, this.#hookSurroundings(terminal));
    if (hookTroubles.length > 0) this.#context.incomplete();
    const told: StepReport = {
      ...report,
      outcome: hookTroubles.length > 0 && report.outcome === 'success' ? 'warning' : report.outcome,
      warnings: [...report.warnings, ...hookTroubles],
    };
    // A switch that hears of the end first, and of the start later, would wait for another end.
    const alarmTroubles = [
      ...((await this.#startPings.get(keyOf(report))) ?? []),
      ...(await sendAlarms(this.#alarms, told, this.#alarmSurroundings())),
    ];
    // One record after the other: they go into the same files.
    const recorded = this.#recorded.then(() =>
      writeRecords(this.#records, told, this.#memories(), systemSleep),
    );
    this.#recorded = recorded;
    const recordTroubles = await recorded;
    for (const trouble of [...hookTroubles, ...alarmTroubles, ...recordTroubles]) terminal.warning(trouble);
  }

  #memories(): StepMemory[] {
    return planSteps(this.#configuration.settings).flatMap(({ id, kind, name, repository }) => {
      const last = this.#state.of(id);
      return last ? [{ kind, name, repository, last }] : [];
    });
  }

  #hookSurroundings(terminal: Terminal): HookSurroundings {
    const { env } = this.#context;
    return { env, onOutput: (_, line) => terminal.detail(line) };
  }

  #alarmSurroundings(): AlarmSurroundings {
    const { env, clock } = this.#context;
    return { env, clock, sleep: systemSleep };
  }
}

function keyOf({ kind, name }: Step): string {
  return `${kind}:${name}`;
}

function alarmSettings(configuration: Configuration): AlarmSettings {
  const { webhooks, emails, pings } = configuration.settings.notify;
  const secret = (value: Secret | string, what: string): SecretSource =>
    typeof value === 'string'
      ? () => Promise.resolve(value)
      : () => readSecretLine(configuration.secret(value), what, AbortSignal.timeout(secretTimeoutMs));
  return {
    webhooks: webhooks.map(({ url, token, timeout, ...webhook }) => ({
      ...webhook,
      url: secret(url, 'URL'),
      token: token && secret(token, 'token'),
      timeoutMs: parseDuration(timeout, 'timeout'),
    })),
    emails: emails.map(({ password, timeout, sendmail, ...email }) => ({
      ...email,
      password: password && secret(password, 'password'),
      sendmail: configuration.path(sendmail),
      timeoutMs: parseDuration(timeout, 'timeout'),
    })),
    pings: pings.map(({ url, timeout, ...ping }) => ({
      ...ping,
      url: secret(url, 'URL'),
      timeoutMs: parseDuration(timeout, 'timeout'),
    })),
  };
}

function recordSettings(configuration: Configuration): RecordSettings {
  const { journal, syslog, ...files } = configuration.settings.records;
  const logFile = files['log-file'];
  const metricsFile = files['metrics-file'];
  return {
    journal: journal ? journalSocket : undefined,
    syslog: syslog && { ...syslog, socket: configuration.path(syslog.socket) },
    logFile: logFile && {
      path: configuration.path(logFile.path),
      maxBytes: parseSize(logFile['max-size'], 'max-size'),
      keep: logFile.keep,
    },
    metricsFile: metricsFile === undefined ? undefined : configuration.path(metricsFile),
    version,
  };
}
