import * as v from 'valibot';
import { durationSchema, lineSchema, nameSchema } from './values.ts';

/** The kinds of steps of a run. */
export type StepKind = 'backup' | 'pull' | 'copy' | 'verify' | 'forget' | 'prune' | 'drill';
/** In the order in which a run takes them. */
const stepKinds: readonly StepKind[] = ['backup', 'pull', 'copy', 'verify', 'forget', 'prune', 'drill'];

const stepKindSchema = v.picklist(stepKinds, `must be one of ${stepKinds.join(', ')}`);

const moments = ['before', 'after', 'success', 'failure', 'warning'] as const;

/**
 * One of `[[hooks]]`: a command line of sh around the steps of a run. It gets the result as JSON on standard input, and the
 * main facts in the environment.
 */
export interface Hook {
  readonly on: readonly (typeof moments)[number][];
  readonly command: string;
  /** Undefined: around steps of all kinds. */
  readonly steps?: readonly StepKind[] | undefined;
  /** Names of jobs, copies or repositories. Undefined: around all. */
  readonly names?: readonly string[] | undefined;
  /** A duration. */
  readonly timeout: string;
}

export const hookSchema: v.GenericSchema<unknown, Hook> = v.strictObject({
  on: v.pipe(
    v.array(v.picklist(moments, `must be one of ${moments.join(', ')}`), 'must be a list'),
    v.minLength(1, 'must name at least one moment'),
    v.description(
      'before: in front of the step, which does not happen if the command fails. after: when it has ended, however. success, failure, warning (done, but something was unreadable): when it has ended so.',
    ),
  ),
  command: v.pipe(lineSchema, v.description('A command line of sh.')),
  steps: v.optional(
    v.pipe(
      v.array(stepKindSchema, 'must be a list'),
      v.description('Only around steps of these kinds. Left out: of all.'),
    ),
  ),
  names: v.optional(
    v.pipe(
      v.array(nameSchema, 'must be a list'),
      v.description('Only around these jobs, copies, or repositories. Left out: around all.'),
    ),
  ),
  timeout: v.optional(
    v.pipe(durationSchema, v.description('The command is ended after this time, and has failed.')),
    '5min',
  ),
});
