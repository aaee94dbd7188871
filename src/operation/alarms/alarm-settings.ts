import type { StepOutcome } from '../records/step-report.ts';

/** Where a secret comes from. Asked only when it is needed; may throw a SalvageError. */
export type SecretSource = () => Promise<string>;

/** What all kinds of alarms have in common. */
interface Alarm {
  /** Names of jobs, copies or repositories. Undefined: for all. */
  readonly names?: readonly string[] | undefined;
  /** For one attempt. */
  readonly timeoutMs: number;
  /** From 1 on. */
  readonly attempts: number;
}

/** A POST to some service. */
export interface Webhook extends Alarm {
  /** May be a secret by itself, as those of Slack are. */
  readonly url: SecretSource;
  readonly kind: 'slack' | 'ntfy' | 'gotify' | 'generic';
  readonly on: readonly StepOutcome[];
  readonly token?: SecretSource | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** For 'generic'; see fill-template.ts. Undefined: the report as JSON. */
  readonly template?: string | undefined;
}

/** By SMTP if there is a server, else by the sendmail program. */
export interface Email extends Alarm {
  readonly to: readonly string[];
  readonly from: string;
  readonly on: readonly StepOutcome[];
  /** `smtps://host:port` or `smtp://host:port`. */
  readonly smtp?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: SecretSource | undefined;
  /** Path of the program. */
  readonly sendmail: string;
}

/** A dead man's switch as healthchecks has it: URL/start, URL, URL/fail. */
export interface Ping extends Alarm {
  readonly url: SecretSource;
  readonly on: readonly ('start' | 'success' | 'failure')[];
}

export interface AlarmSettings {
  readonly webhooks: readonly Webhook[];
  readonly emails: readonly Email[];
  readonly pings: readonly Ping[];
}
