/**
 * When something is due, in the words of systemd.time(7), of which this is a part:
 *
 *     hourly | daily | weekly | monthly
 *     [WEEKDAYS] [*-*-DAYS] HOURS:MINUTES      as in  02:30   Sun 04:00   Mon..Fri 22:00   *-*-01,15 04:00   *:00/15
 *
 * WEEKDAYS, DAYS, HOURS and MINUTES are lists of numbers (names) and ranges `a..b`; `*` is all, `a/n` every n-th from a on.
 * Times are local.
 */
export interface Calendar {
  /** 0 is Sunday, as in Date. */
  readonly weekdays: ReadonlySet<number>;
  /** Of the month, from 1 on. */
  readonly days: ReadonlySet<number>;
  readonly hours: readonly number[];
  readonly minutes: readonly number[];
}

const weekdayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const names: Readonly<Record<string, string>> = {
  hourly: '*:00',
  daily: '00:00',
  weekly: 'Mon 00:00',
  monthly: '*-*-01 00:00',
};
/** A 31st, or a 29th on a certain weekday, can be that far away. */
const mostDaysAhead = 366 * 30;

/** Undefined if the text is no such time. */
export function parseCalendar(text: string): Calendar | undefined {
  const pattern = /^(?:([a-z,.]+) +)?(?:\*-\*-([\d,./*]+) +)?([\d,./*]+):([\d,./*]+)$/i;
  const [, weekdays, days, hours, minutes] = pattern.exec(names[text] ?? text) ?? [];
  if (hours === undefined || minutes === undefined) return undefined;
  const calendar = {
    weekdays: weekdays === undefined ? range(0, 6) : parseWeekdays(weekdays.toLowerCase()),
    days: days === undefined ? range(1, 31) : parseNumbers(days, 1, 31),
    hours: parseNumbers(hours, 0, 23),
    minutes: parseNumbers(minutes, 0, 59),
  };
  const { weekdays: a, days: b, hours: c, minutes: d } = calendar;
  return a && b && c && d && { weekdays: new Set(a), days: new Set(b), hours: c, minutes: d };
}

/** As systemd wants it in OnCalendar. */
export function systemdCalendar(text: string): string {
  return names[text] === undefined ? text : names[text]!;
}

/** The first time after `after`, in the local time zone. @throws RangeError if there is none within thirty years */
export function nextTime(calendar: Calendar, after: Date): Date {
  const [year, month, day] = [after.getFullYear(), after.getMonth(), after.getDate()];
  for (let ahead = 0; ahead <= mostDaysAhead; ahead++) {
    const date = new Date(year, month, day + ahead);
    if (!calendar.weekdays.has(date.getDay()) || !calendar.days.has(date.getDate())) continue;
    for (const hour of calendar.hours)
      for (const minute of calendar.minutes) {
        const time = new Date(date.getFullYear(), date.getMonth(), date.getDate(), hour, minute);
        if (time > after) return time;
      }
  }
  throw new RangeError('no such day');
}

function parseWeekdays(text: string): number[] | undefined {
  const found: number[] = [];
  for (const part of text.split(',')) {
    const [first, last = first] = part.split('..').map((name) => weekdayNumber(name));
    if (first === undefined || last === undefined || part.split('..').length > 2) return undefined;
    // As systemd counts: a week begins on Monday and ends on Sunday.
    if ((first + 6) % 7 > (last + 6) % 7) return undefined;
    for (let day = first; day !== last; day = (day + 1) % 7) found.push(day);
    found.push(last);
  }
  return found;
}

/** By its first three letters, or whole. */
function weekdayNumber(name: string): number | undefined {
  const whole = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
  const number = name.length === 3 ? weekdayNames.indexOf(name) : whole.indexOf(name);
  return number < 0 ? undefined : number;
}

/** Ascending, each once. */
function parseNumbers(text: string, least: number, most: number): number[] | undefined {
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const [, all, from, to, step] = /^(?:(\*)|(\d{1,2})(?:\.\.(\d{1,2}))?(?:\/(\d{1,2}))?)$/.exec(part) ?? [];
    if (all === undefined && from === undefined) return undefined;
    const first = all === undefined ? Number(from) : least;
    const last = to === undefined ? (all === undefined && step === undefined ? first : most) : Number(to);
    const by = Number(step ?? 1);
    if (first < least || last > most || last < first || by < 1) return undefined;
    // systemd takes it for a mistake.
    if (step !== undefined && to === undefined && first + by > most) return undefined;
    for (let number = first; number <= last; number += by) found.add(number);
  }
  return [...found].sort((a, b) => a - b);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
