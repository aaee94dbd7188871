/** What starts a run regularly, whichever program does it. */
export interface ServicePlan {
  /** Of the units, the block in the crontab, the job of launchd. */
  readonly name: string;
  /** Absolute path of the configuration. */
  readonly configuration: string;
  /** The program and its arguments; the first is an absolute path. */
  readonly command: readonly string[];
  /** Where salvage finds its keys and its state as the one who installs finds them now. */
  readonly environment: Readonly<Record<string, string>>;
  /** All times at which something is due, as in ../calendar.ts, each once. */
  readonly schedules: readonly string[];
  /** Where salvage keeps state, cache and the keys that it makes. Absolute; need not exist. */
  readonly ownFolders: readonly string[];
  /** What else is written to: local repositories, and what the configuration names. Absolute. */
  readonly writablePaths: readonly string[];
  /** Absolute paths of files with secrets, by name. */
  readonly credentials: Readonly<Record<string, string>>;
  /** In seconds. */
  readonly randomizedDelay: number;
  readonly nice: number;
  readonly ioClass: 'best-effort' | 'idle';
}

export const servicePath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Where times are not told to the program that starts runs, it starts one so often, and the run does what is due. */
export const wakeMinutes = 15;
