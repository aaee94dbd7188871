import * as v from 'valibot';
import {
  calendarSchema,
  countSchema,
  durationSchema,
  flagSchema,
  lineSchema,
  linesSchema,
  nameSchema,
  pathSchema,
  pathsSchema,
  sizeSchema,
} from './values.ts';

/** `[jobs.NAME]`: a backup of paths, of what a command prints, or of another host by `pull`. */
export interface JobSettings {
  /** Undefined where there is only one. */
  readonly repository?: string | undefined;
  readonly schedule: string;
  readonly paths?: readonly string[] | undefined;
  readonly command?: string | undefined;
  readonly as?: string | undefined;
  readonly pull?: string | undefined;
  readonly arguments?: readonly string[] | undefined;
  readonly 'ssh-command'?: string | undefined;
  /** A duration. Undefined: a day. */
  readonly 'max-time'?: string | undefined;
  readonly exclude?: readonly string[] | undefined;
  readonly 'exclude-from'?: readonly string[] | undefined;
  readonly 'exclude-caches'?: boolean | undefined;
  readonly 'exclude-if-present'?: readonly string[] | undefined;
  readonly 'one-file-system'?: boolean | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly paranoid?: boolean | undefined;
  readonly memory?: string | undefined;
  readonly threads?: number | undefined;
  readonly 'limit-upload'?: string | undefined;
}

/** `[copies.NAME]` */
export interface CopySettings {
  /** Names of repositories. */
  readonly from: string;
  readonly to: string;
  readonly schedule: string;
  readonly latest?: number | undefined;
  readonly repair?: boolean | undefined;
  readonly 'lock-days'?: number | undefined;
  readonly 'lock-mode'?: 'compliance' | 'governance' | undefined;
  readonly memory?: string | undefined;
  readonly 'limit-upload'?: string | undefined;
}

const label = v.pipe(v.string('must be text'), v.maxLength(256, 'must have 256 characters at most'));

export const jobSchema: v.GenericSchema<unknown, JobSettings> = v.strictObject({
  repository: v.optional(
    v.pipe(nameSchema, v.description('One of [repositories]. Can be left out where there is only one.')),
  ),
  schedule: v.optional(calendarSchema, 'daily'),
  paths: v.optional(
    v.pipe(
      v.array(pathSchema, 'must be a list'),
      v.minLength(1, 'must name at least one path'),
      v.description('What to back up.'),
    ),
  ),
  command: v.optional(
    v.pipe(
      lineSchema,
      v.description('A command line of sh: what it prints is backed up. If it fails there is no snapshot.'),
    ),
  ),
  as: v.optional(v.pipe(lineSchema, v.description('With command: the name of the file.'))),
  pull: v.optional(
    v.pipe(
      lineSchema,
      v.description('For the keeper: [user@]host, where salvage backs up to here over SSH.'),
    ),
  ),
  arguments: v.optional(
    v.pipe(linesSchema, v.description('With pull: paths and options for the backup on the host.')),
  ),
  'ssh-command': v.optional(
    v.pipe(lineSchema, v.description('With pull: the ssh program with its arguments.')),
  ),
  'max-time': v.optional(
    v.pipe(
      durationSchema,
      v.description('With pull: the host is hung up on after so long. Left out: a day.'),
    ),
  ),
  exclude: v.optional(v.pipe(linesSchema, v.description('Patterns as in gitignore(5).'))),
  'exclude-from': v.optional(pathsSchema),
  'exclude-caches': v.optional(flagSchema),
  'exclude-if-present': v.optional(linesSchema),
  'one-file-system': v.optional(flagSchema),
  tags: v.optional(v.pipe(linesSchema, v.description('Notes that only restorers can read.'))),
  labels: v.optional(
    v.pipe(
      v.record(
        v.pipe(v.string(), v.regex(/^[^=]{1,256}$/, 'must be a name without "="')),
        label,
        'must be a table',
      ),
      v.description('Notes that everybody can read who can read the repository.'),
    ),
  ),
  paranoid: v.optional(flagSchema),
  memory: v.optional(sizeSchema),
  threads: v.optional(countSchema(1, 64)),
  'limit-upload': v.optional(v.pipe(sizeSchema, v.description('At most so much a second.'))),
});

export const copySchema: v.GenericSchema<unknown, CopySettings> = v.strictObject({
  from: v.pipe(nameSchema, v.description('One of [repositories].')),
  to: v.pipe(nameSchema, v.description('One of [repositories].')),
  schedule: v.optional(calendarSchema, 'daily'),
  latest: v.optional(v.pipe(countSchema(1, 99_999_999), v.description('Only the newest so many snapshots.'))),
  repair: v.optional(flagSchema),
  'lock-days': v.optional(countSchema(1, 36_500)),
  'lock-mode': v.optional(v.picklist(['compliance', 'governance'], 'must be compliance or governance')),
  memory: v.optional(sizeSchema),
  'limit-upload': v.optional(v.pipe(sizeSchema, v.description('At most so much a second.'))),
});
