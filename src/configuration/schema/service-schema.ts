import * as v from 'valibot';
import { countSchema, durationSchema, pathsSchema } from './values.ts';

/** `[service]`: how `schedule install` has a run started. */
export interface ServiceSettings {
  /** A duration: runs begin so much later, by chance. */
  readonly 'randomized-delay': string;
  readonly nice: number;
  readonly 'io-class': 'best-effort' | 'idle';
  /** Beside the folders of salvage and local repositories. */
  readonly 'read-write-paths': readonly string[];
}

export const serviceSchema: v.GenericSchema<unknown, ServiceSettings> = v.strictObject({
  'randomized-delay': v.optional(
    v.pipe(
      durationSchema,
      v.description('Runs begin up to so much later, so that not all hosts begin at once.'),
    ),
    '10min',
  ),
  nice: v.optional(countSchema(-20, 19), 10),
  'io-class': v.optional(v.picklist(['best-effort', 'idle'], 'must be best-effort or idle'), 'best-effort'),
  'read-write-paths': v.optional(
    v.pipe(
      pathsSchema,
      v.description('Where else commands and hooks may write: under systemd everything else is read only.'),
    ),
    [],
  ),
});
