import type { LastRun } from '../operation/run/run-state.ts';
import { nextTime, parseCalendar } from './calendar.ts';

/** What failed for a reason that may pass is tried again after so long, if its time does not come sooner. */
const retryAfterMs = 3_600_000;

/**
 * Since when something is due, or from when on it will be. What never ran is due at once; what was missed, because the
 * machine was off, is due from when it was missed.
 */
export function dueFrom(schedule: string, last: LastRun | undefined, now: Date): Date {
  // A time in the future: the clock was wrong then, or is now.
  if (!last || last.startedAt > now) return now;
  const next = nextTime(parseCalendar(schedule)!, last.startedAt);
  if (last.outcome !== 'failure' || last.code !== 'failed') return next;
  const again = new Date(last.endedAt.getTime() + retryAfterMs);
  return again < next ? again : next;
}
