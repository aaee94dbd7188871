// The kinds of values that stand in salvage.toml. Nothing here transforms: what is read is what was written, and the
// JSON Schema for editors is made from the same lines.
import * as v from 'valibot';
import { parseCalendar } from '../calendar.ts';

/** Without line breaks: it ends up in one line of something. */
export const lineSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be text'),
  v.regex(/^[^\n\r\0]{1,4096}$/, 'must be one line of text'),
);

/** A file or folder: absolute, or seen from the folder of the configuration. */
export const pathSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be text'),
  v.regex(
    /^[^~\n\r\0][^\n\r\0]{0,4095}$/,
    'must be a path; it is not a shell that reads it, so "~" is not known',
  ),
  v.description('A path: absolute, or seen from the folder of salvage.toml.'),
);

/** The name of a repository, job or copy: it stands in messages, file names and labels of metrics. */
export const nameSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be text'),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be a name of letters, digits, ".", "_" and "-"'),
);

/** As src/cli/parse-duration.ts reads it. */
export const durationSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be a duration in quotes, such as "36h", "7d" or "1y6m"'),
  v.regex(/^(?:\d{1,6}(?:min|[shdwmy]))+$/, 'must be a duration, such as "36h", "7d" or "1y6m"'),
);

/** As src/cli/parse-size.ts reads it. */
export const sizeSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be a size in quotes, such as "500M"'),
  v.regex(/^[1-9]\d{0,14}(?:\.\d{1,3})? *[KMGTkmgt]?(?:i?[Bb])?$/, 'must be a size, such as "500M"'),
);

/** A share of a whole. */
export const shareSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be a share in quotes, such as "10%"'),
  v.regex(/^(?:100|\d{1,2}(?:\.\d{1,3})?)%$/, 'must be a share, such as "10%"'),
);

/** When something is due: see ../calendar.ts. */
export const calendarSchema: v.GenericSchema<string> = v.pipe(
  v.string('must be a time in quotes, such as "daily", "02:30" or "Sun 04:00"'),
  v.maxLength(100, 'must be shorter'),
  v.check(
    (text) => parseCalendar(text) !== undefined,
    'must be a time, such as "daily", "02:30", "Mon..Fri 22:00", "*-*-01 04:00" or "*:00/15"',
  ),
  v.description(
    'When it is due: "hourly", "daily", "weekly", "monthly", or a time as systemd.time(7) has it, such as "02:30", "Sun 04:00", "Mon..Fri 22:00", "*-*-01 04:00", "*:00/15".',
  ),
);

const texts = v.array(lineSchema, 'must be a list');
export const linesSchema: v.GenericSchema<string[]> = texts;
export const pathsSchema: v.GenericSchema<string[]> = v.array(pathSchema, 'must be a list');
export const flagSchema: v.GenericSchema<boolean> = v.boolean('must be true or false');

export function countSchema(least: number, most: number): v.GenericSchema<number> {
  const message = `must be a whole number from ${least} to ${most}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(least, message), v.maxValue(most, message));
}

/** Where a secret comes from. It never stands in the configuration itself. */
export type Secret =
  | { readonly file: string }
  | { readonly command: string }
  | { readonly credential: string };

const secretForms = 'must be { file = "…" }, { command = "…" } or { credential = "…" }';

/** The first line of a file, what a command line of sh prints, or a credential of the table [credentials]. */
export const secretSchema: v.GenericSchema<Secret> = v.pipe(
  v.union(
    [
      v.strictObject({ file: pathSchema }),
      v.strictObject({ command: lineSchema }),
      v.strictObject({ credential: nameSchema }),
    ],
    secretForms,
  ),
  v.description(
    'A secret: the first line of a file, what a command prints, or one of the credentials of [credentials].',
  ),
);
