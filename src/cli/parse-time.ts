import { SalvageError } from '../errors/salvage-error.ts';

/** `2026-11-01`, or `2026-11-01T12:00:00Z`. @throws usage */
export function parseTime(text: string): Date {
  const time = new Date(
    /^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:\d{2})?)?$/.test(text) ? text : Number.NaN,
  );
  if (!Number.isNaN(time.getTime())) return time;
  throw new SalvageError('usage', `Cannot use "${text}" as a time: give 2026-11-01, or 2026-11-01T12:00:00Z`);
}
