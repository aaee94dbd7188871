import * as v from 'valibot';
import type { Secret } from './values.ts';
import {
  calendarSchema,
  countSchema,
  durationSchema,
  lineSchema,
  linesSchema,
  pathSchema,
  pathsSchema,
  secretSchema,
  shareSchema,
  sizeSchema,
} from './values.ts';

/** `[repositories.NAME]`: where it is, whom to trust, and for the roles that have them: keys, and what to do regularly. */
export interface RepositorySettings {
  readonly url: string;
  readonly 'ssh-command'?: string | undefined;
  readonly 'allowed-signers'?: string | undefined;
  readonly signer?: string | undefined;
  readonly keeper?: string | undefined;
  readonly identities?: readonly string[] | undefined;
  readonly plugins?: readonly string[] | undefined;
  readonly passphrase?: Secret | undefined;
  readonly 'signing-key'?: string | undefined;
  readonly verify?: VerifySettings | undefined;
  readonly retention?: RetentionSettings | undefined;
  readonly drill?: DrillSettings | undefined;
}

export interface VerifySettings {
  readonly schedule: string;
  readonly 'read-data'?: string | undefined;
}

export interface RetentionSettings {
  readonly schedule: string;
  readonly 'keep-last'?: number | undefined;
  readonly 'keep-hourly'?: number | undefined;
  readonly 'keep-daily'?: number | undefined;
  readonly 'keep-weekly'?: number | undefined;
  readonly 'keep-monthly'?: number | undefined;
  readonly 'keep-yearly'?: number | undefined;
  readonly 'keep-within'?: string | undefined;
  readonly 'keep-labels'?: readonly string[] | undefined;
  readonly label?: string | undefined;
  readonly 'max-remove': string;
  readonly grace: string;
}

export interface DrillSettings {
  readonly schedule: string;
  readonly snapshot: string;
  readonly 'max-size': string;
  readonly 'max-files': number;
  readonly 'max-time': string;
  readonly check?: string | undefined;
  readonly scratch?: string | undefined;
  readonly 'signing-key'?: string | undefined;
}

const verifySchema = v.strictObject({
  schedule: v.optional(calendarSchema, 'weekly'),
  'read-data': v.optional(
    v.pipe(shareSchema, v.description('Read this share of what is stored, chosen by chance: "100%" is all.')),
  ),
});

const keep = v.optional(countSchema(0, 99_999));
const labelSchema = v.pipe(
  v.string('must be text'),
  v.regex(/^[^=\n\r\0][^\n\r\0]{0,512}$/, 'must be NAME or NAME=VALUE'),
  v.description('NAME, or NAME=VALUE.'),
);
const retentionSchema = v.pipe(
  v.strictObject({
    schedule: v.optional(calendarSchema, 'daily'),
    'keep-last': keep,
    'keep-hourly': keep,
    'keep-daily': keep,
    'keep-weekly': keep,
    'keep-monthly': keep,
    'keep-yearly': keep,
    'keep-within': v.optional(durationSchema),
    'keep-labels': v.optional(v.array(labelSchema, 'must be a list')),
    label: v.optional(labelSchema),
    'max-remove': v.optional(shareSchema, '50%'),
    grace: v.optional(durationSchema, '24h'),
  }),
  v.check(
    (rules) => Object.keys(rules).some((name) => name.startsWith('keep-')),
    'must say what to keep, for example keep-daily = 7',
  ),
  v.description('For the keeper: forget, and then prune.'),
);

const drillSchema = v.strictObject({
  schedule: v.optional(calendarSchema, 'monthly'),
  snapshot: v.optional(lineSchema, 'latest'),
  'max-size': v.optional(sizeSchema, '1G'),
  'max-files': v.optional(countSchema(1, 999_999), 1000),
  'max-time': v.optional(durationSchema, '1h'),
  check: v.optional(
    v.pipe(
      lineSchema,
      v.description('A command line of sh, run in the folder with what was restored. It fails the drill.'),
    ),
  ),
  scratch: v.optional(pathSchema),
  'signing-key': v.optional(pathSchema),
});

export const repositorySchema: v.GenericSchema<unknown, RepositorySettings> = v.strictObject({
  url: v.pipe(
    pathSchema,
    v.description(
      'A path, file:///path, ssh://user@host/, sftp://user@host/path, s3://bucket/prefix or rclone:remote:path.',
    ),
  ),
  'ssh-command': v.optional(lineSchema),
  'allowed-signers': v.optional(
    v.pipe(pathSchema, v.description('Who may sign: a file as ssh-keygen(1) describes it.')),
  ),
  signer: v.optional(
    v.pipe(lineSchema, v.description('The host that must have signed, as allowed-signers lists it.')),
  ),
  keeper: v.optional(
    v.pipe(lineSchema, v.description('The keeper whose records are believed, as allowed-signers lists it.')),
  ),
  identities: v.optional(
    v.pipe(pathsSchema, v.description('For the restorer only: private keys that open the repository.')),
  ),
  plugins: v.optional(v.pipe(linesSchema, v.description('For the restorer only: age plugins that open it.'))),
  passphrase: v.optional(secretSchema),
  'signing-key': v.optional(
    v.pipe(pathSchema, v.description("For the keeper only: the key that signs the keeper's records.")),
  ),
  verify: v.optional(verifySchema),
  retention: v.optional(retentionSchema),
  drill: v.optional(drillSchema),
});
