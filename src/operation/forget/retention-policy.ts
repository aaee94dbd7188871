import type { SnapshotId } from '../../repository/ids.ts';

/** How many snapshots of each kind to keep; 0 where a rule is not used. */
export interface RetentionPolicy {
  readonly last: number;
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
  readonly yearly: number;
  /** Those received within this time before the newest of their group. */
  readonly withinMs: number;
  /** Those with one of these labels. */
  readonly labels: readonly LabelPattern[];
}

export interface LabelPattern {
  readonly name: string;
  /** Undefined: any value. */
  readonly value: string | undefined;
}

/** What the policy looks at. */
export interface DatedSnapshot {
  readonly id: SnapshotId;
  /** When storage received it, or its keeper first saw it. */
  readonly received: Date;
  readonly group: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Decision<T extends DatedSnapshot> {
  readonly snapshot: T;
  /** Why it stays; empty if it goes. */
  readonly reasons: readonly string[];
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** 1970-01-01 was a Thursday; weeks begin on Monday. */
const daysToMonday = 3;

type Period = 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';

/** Equal for times in one hour, day, week, month or year of UTC. */
const periodOf: Readonly<Record<Period, (time: Date) => number>> = {
  hourly: (time) => Math.floor(time.getTime() / hourMs),
  daily: (time) => Math.floor(time.getTime() / dayMs),
  weekly: (time) => Math.floor((time.getTime() / dayMs + daysToMonday) / 7),
  monthly: (time) => time.getUTCFullYear() * 12 + time.getUTCMonth(),
  yearly: (time) => time.getUTCFullYear(),
};

export function hasLabel(labels: Readonly<Record<string, string>>, { name, value }: LabelPattern): boolean {
  return Object.hasOwn(labels, name) && (value === undefined || labels[name] === value);
}

/**
 * Decides for each group by itself which snapshots stay, in the order given. The newest of a group always stays, and of
 * each hour, day, … the newest. Which is newer is decided by the sequence, which no clock changes.
 */
export function applyPolicy<T extends DatedSnapshot>(
  snapshots: readonly T[],
  policy: RetentionPolicy,
): Decision<T>[] {
  const reasons = new Map<T, string[]>(snapshots.map((snapshot) => [snapshot, []]));
  const groups = new Map<string, T[]>();
  for (const snapshot of snapshots.toSorted((a, b) => (a.id > b.id ? -1 : 1))) {
    const group = groups.get(snapshot.group);
    if (group) group.push(snapshot);
    else groups.set(snapshot.group, [snapshot]);
  }
  for (const group of groups.values()) decideGroup(group, policy, reasons);
  return snapshots.map((snapshot) => ({ snapshot, reasons: reasons.get(snapshot)! }));
}

/** `group` is newest first. */
function decideGroup<T extends DatedSnapshot>(
  group: readonly T[],
  policy: RetentionPolicy,
  reasons: ReadonlyMap<T, string[]>,
): void {
  const keep = (snapshot: T, why: string): void => void reasons.get(snapshot)!.push(why);
  const [newest] = group;
  if (policy.last === 0) keep(newest!, 'newest');
  for (const snapshot of group.slice(0, policy.last)) keep(snapshot, 'last');
  for (const period of Object.keys(periodOf) as Period[]) {
    const seen = new Set<number>();
    for (const snapshot of group) {
      if (seen.size === policy[period]) break;
      const which = periodOf[period](snapshot.received);
      if (seen.has(which)) continue;
      seen.add(which);
      keep(snapshot, period);
    }
  }
  // Not before now: the last snapshots of a host that is no more must not run out.
  const since = newest!.received.getTime() - policy.withinMs;
  for (const snapshot of group) {
    if (policy.withinMs > 0 && snapshot.received.getTime() >= since) keep(snapshot, 'within');
    for (const label of policy.labels)
      if (hasLabel(snapshot.labels, label)) keep(snapshot, `label ${label.name}`);
  }
}
