import * as v from 'valibot';
import { countSchema, flagSchema, pathSchema, sizeSchema } from './values.ts';

const facilities = [
  'user',
  'daemon',
  'cron',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const;

/** `[records]`: where what a run did is written down. */
export interface Records {
  readonly journal: boolean;
  readonly syslog?: { readonly facility: (typeof facilities)[number]; readonly socket: string } | undefined;
  /** `max-size` is a size. */
  readonly 'log-file'?:
    | { readonly path: string; readonly 'max-size': string; readonly keep: number }
    | undefined;
  readonly 'metrics-file'?: string | undefined;
}

export const recordsSchema: v.GenericSchema<unknown, Records> = v.strictObject({
  journal: v.optional(
    v.pipe(flagSchema, v.description('Structured records for journald, where it runs.')),
    false,
  ),
  syslog: v.optional(
    v.strictObject({
      facility: v.optional(v.picklist(facilities, `must be one of ${facilities.join(', ')}`), 'daemon'),
      socket: v.optional(pathSchema, '/dev/log'),
    }),
  ),
  'log-file': v.optional(
    v.strictObject({
      path: pathSchema,
      'max-size': v.optional(
        v.pipe(sizeSchema, v.description('A new file is begun beyond this size.')),
        '10M',
      ),
      keep: v.optional(v.pipe(countSchema(0, 1000), v.description('So many old files are kept.')), 5),
    }),
  ),
  'metrics-file': v.optional(
    v.pipe(
      pathSchema,
      v.description('A file NAME.prom for the text-file collector of the Prometheus node exporter.'),
    ),
  ),
});
