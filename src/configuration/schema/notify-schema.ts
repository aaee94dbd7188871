import * as v from 'valibot';
import type { Secret } from './values.ts';
import { countSchema, durationSchema, lineSchema, nameSchema, pathSchema, secretSchema } from './values.ts';

const outcomes = ['success', 'warning', 'failure'] as const;
export type Outcome = (typeof outcomes)[number];
const outcomesSchema = v.array(
  v.picklist(outcomes, `must be one of ${outcomes.join(', ')}`),
  'must be a list',
);
const pingMoments = ['start', 'success', 'failure'] as const;

const urlForms = 'must be an http(s) URL, or { file = "…" }, { command = "…" } or { credential = "…" }';
/** A URL may be a secret by itself, as those of Slack and healthchecks are. */
const urlSchema = v.union(
  [v.pipe(v.string(), v.regex(/^https?:\/\/[^\s]{1,2000}$/, urlForms)), secretSchema],
  urlForms,
);

/** What all three kinds of alarms have in common. */
interface Alarm {
  /** Names of jobs, copies or repositories. Undefined: for all. */
  readonly names?: readonly string[] | undefined;
  /** A duration: for one attempt. */
  readonly timeout: string;
  readonly attempts: number;
}

const common = {
  names: v.optional(
    v.pipe(
      v.array(nameSchema, 'must be a list'),
      v.description('Only for these jobs, copies, or repositories. Left out: for all.'),
    ),
  ),
  timeout: v.optional(v.pipe(durationSchema, v.description('Time for one attempt.')), '10s'),
  attempts: v.optional(v.pipe(countSchema(1, 20), v.description('How often it is tried.')), 3),
};

/** One of `[[notify.webhooks]]`. */
export interface Webhook extends Alarm {
  readonly url: string | Secret;
  readonly kind: 'slack' | 'ntfy' | 'gotify' | 'generic';
  readonly on: readonly Outcome[];
  readonly token?: Secret | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly template?: string | undefined;
}

const webhookSchema: v.GenericSchema<unknown, Webhook> = v.strictObject({
  url: urlSchema,
  kind: v.pipe(
    v.picklist(['slack', 'ntfy', 'gotify', 'generic'], 'must be one of slack, ntfy, gotify, generic'),
    v.description('What the receiver expects.'),
  ),
  on: v.optional(v.pipe(outcomesSchema, v.description('After runs that ended so.')), ['warning', 'failure']),
  token: v.optional(secretSchema),
  headers: v.optional(
    v.record(
      v.pipe(v.string(), v.regex(/^[A-Za-z0-9-]{1,100}$/, 'must be the name of a header')),
      lineSchema,
      'must be a table',
    ),
  ),
  template: v.optional(
    v.pipe(
      v.string('must be text'),
      v.maxLength(16_384, 'must be shorter'),
      v.description(
        'The body, for kind "generic"; the manual lists the places that are filled in. Left out: the result as JSON.',
      ),
    ),
  ),
  ...common,
});

/** One of `[[notify.emails]]`. By SMTP if `smtp` is there, else by the sendmail program. */
export interface Email extends Alarm {
  readonly to: readonly string[];
  readonly from: string;
  readonly on: readonly Outcome[];
  readonly smtp?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: Secret | undefined;
  readonly sendmail: string;
}

const emailSchema: v.GenericSchema<unknown, Email> = v.strictObject({
  to: v.pipe(v.array(lineSchema, 'must be a list'), v.minLength(1, 'must name at least one address')),
  from: lineSchema,
  on: v.optional(v.pipe(outcomesSchema, v.description('After runs that ended so.')), ['warning', 'failure']),
  smtp: v.optional(
    v.pipe(
      v.string('must be text'),
      v.regex(/^smtps?:\/\/[^\s/@]{1,300}$/, 'must be smtp://host:port or smtps://host:port'),
      v.description('smtps://host:port (TLS from the start), or smtp://host:port (STARTTLS).'),
    ),
  ),
  username: v.optional(lineSchema),
  password: v.optional(secretSchema),
  sendmail: v.optional(pathSchema, '/usr/sbin/sendmail'),
  ...common,
});

/** One of `[[notify.pings]]`: a dead man's switch, as healthchecks has it: URL/start, URL, URL/fail. */
export interface Ping extends Alarm {
  readonly url: string | Secret;
  readonly on: readonly (typeof pingMoments)[number][];
}

const pingSchema: v.GenericSchema<unknown, Ping> = v.strictObject({
  url: urlSchema,
  on: v.optional(
    v.array(v.picklist(pingMoments, `must be one of ${pingMoments.join(', ')}`), 'must be a list'),
    ['start', 'success', 'failure'],
  ),
  ...common,
});

/** `[notify]` */
export interface Notify {
  readonly webhooks: readonly Webhook[];
  readonly emails: readonly Email[];
  readonly pings: readonly Ping[];
}

export const notifySchema: v.GenericSchema<unknown, Notify> = v.strictObject({
  webhooks: v.optional(v.array(webhookSchema, 'must be written as [[notify.webhooks]]'), []),
  emails: v.optional(v.array(emailSchema, 'must be written as [[notify.emails]]'), []),
  pings: v.optional(v.array(pingSchema, 'must be written as [[notify.pings]]'), []),
});
