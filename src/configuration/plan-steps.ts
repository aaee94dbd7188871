import type { StepKind } from './schema/hooks-schema.ts';
import type { Settings } from './schema/configuration-schema.ts';

/** One thing that a run does when it is due. */
export interface Step {
  /** `backup:etc`, `verify:main`: unique in a configuration. */
  readonly id: string;
  readonly kind: StepKind;
  /** Of the job or the copy; of the repository for what is done to one. */
  readonly name: string;
  /** The name of the repository that changes or is looked at; of a copy, the target. */
  readonly repository: string;
  readonly schedule: string;
}

/**
 * All that a configuration asks for, in the order in which it is to be done: what is new comes in, goes on to other places,
 * is checked, and only then something old is removed. Drills, which nobody waits for, are last.
 */
export function planSteps({ repositories, jobs, copies }: Settings): Step[] {
  const only = Object.keys(repositories)[0]!;
  const step = (kind: StepKind, name: string, repository: string, schedule: string): Step => ({
    id: `${kind}:${name}`,
    kind,
    name,
    repository,
    schedule,
  });
  const each = Object.entries(repositories);
  return [
    ...Object.entries(jobs).map(([name, job]) =>
      step(job.pull === undefined ? 'backup' : 'pull', name, job.repository ?? only, job.schedule),
    ),
    ...Object.entries(copies).map(([name, { to, schedule }]) => step('copy', name, to, schedule)),
    ...each.flatMap(([name, { verify }]) => (verify ? [step('verify', name, name, verify.schedule)] : [])),
    ...each.flatMap(([name, { retention }]) =>
      retention
        ? [step('forget', name, name, retention.schedule), step('prune', name, name, retention.schedule)]
        : [],
    ),
    ...each.flatMap(([name, { drill }]) => (drill ? [step('drill', name, name, drill.schedule)] : [])),
  ];
}
