import * as v from 'valibot';
import { hookSchema, type Hook } from './hooks-schema.ts';
import { copySchema, jobSchema, type CopySettings, type JobSettings } from './job-schema.ts';
import { notifySchema, type Notify } from './notify-schema.ts';
import { recordsSchema, type Records } from './records-schema.ts';
import { repositorySchema, type RepositorySettings } from './repository-schema.ts';
import { serviceSchema, type ServiceSettings } from './service-schema.ts';
import { countSchema, lineSchema, nameSchema, pathSchema, pathsSchema } from './values.ts';

/** What salvage.toml says, in its own words. Paths are as they stand there: see `Configuration.path`. */
export interface Settings {
  readonly include?: readonly string[] | undefined;
  /** So many steps of a run go on side by side. */
  readonly concurrency: number;
  readonly environment: Readonly<Record<string, string>>;
  /** Paths of files that hold secrets, by the name under which they are asked for. */
  readonly credentials: Readonly<Record<string, string>>;
  readonly repositories: Readonly<Record<string, RepositorySettings>>;
  readonly jobs: Readonly<Record<string, JobSettings>>;
  readonly copies: Readonly<Record<string, CopySettings>>;
  readonly service: ServiceSettings;
  readonly hooks: readonly Hook[];
  readonly notify: Notify;
  readonly records: Records;
}

const variableName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, 'must be the name of an environment variable'),
);

export const configurationSchema: v.GenericSchema<unknown, Settings> = v.pipe(
  v.strictObject({
    include: v.optional(
      v.pipe(
        pathsSchema,
        v.description('Other files that belong to this one. The last part of a path may hold "*".'),
      ),
    ),
    concurrency: v.optional(
      v.pipe(
        countSchema(1, 256),
        v.description(
          'So many steps of a run go on side by side, for different hosts and repositories: for keepers of many.',
        ),
      ),
      1,
    ),
    environment: v.optional(
      v.pipe(
        v.record(variableName, lineSchema, 'must be a table'),
        v.description(
          'Variables for this run and all that it starts. No secrets: this file may be readable.',
        ),
      ),
      {},
    ),
    credentials: v.optional(
      v.pipe(
        v.record(nameSchema, pathSchema, 'must be a table'),
        v.description('Files that hold secrets. Under systemd they are handed over as credentials.'),
      ),
      {},
    ),
    repositories: v.optional(v.record(nameSchema, repositorySchema, 'must be a table'), {}),
    jobs: v.optional(
      v.pipe(v.record(nameSchema, jobSchema, 'must be a table'), v.description('Backups.')),
      {},
    ),
    copies: v.optional(v.record(nameSchema, copySchema, 'must be a table'), {}),
    service: v.optional(
      v.pipe(serviceSchema, v.description('How a run is started by systemd, cron or launchd.')),
      {},
    ),
    hooks: v.optional(v.array(hookSchema, 'must be written as [[hooks]]'), []),
    notify: v.optional(notifySchema, {}),
    records: v.optional(recordsSchema, {}),
  }),
  v.title('salvage.toml'),
);
