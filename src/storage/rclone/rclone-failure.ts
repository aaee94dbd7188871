import { TransientError } from '../transient-error.ts';

/** rclone has answered a request with an error. */
export class RcloneFailure extends Error {
  override readonly name = 'RcloneFailure';
  /** What is asked for is not there. */
  readonly isAbsence: boolean;
  /** A folder could not be made. */
  readonly isFolders: boolean;

  constructor(message: string, isAbsence: boolean, options?: ErrorOptions) {
    super(message, options);
    this.isAbsence = isAbsence;
    this.isFolders = notMade.test(message);
  }
}

const longestMessage = 1000;

// rclone tells everything as text, and most of it comes from a server.
const notThere =
  /\b(?:object|directory|bucket|container|file) not found\b|no such file or directory|not a directory/i;
const notMade = /\bmkdir\b[^]*\bfailed\b/i;
const passing =
  /connection (?:refused|reset|closed|lost|timed out)|connection unexpectedly closed|broken pipe|\bEOF\b|i\/o timeout|deadline exceeded|timeout (?:exceeded|awaiting)|network is (?:down|unreachable)|no route to host|too many requests|slow ?down|server ?busy|(?:temporarily|service) unavailable|\bstatus(?: ?code)?[ :=]{0,2}(?:429|50[0234])\b/i;

/** Makes an error of what rclone answered, transient where a later attempt may do better although rclone has tried ten times. */
export function describeFailure(status: number, text: string): RcloneFailure {
  const message = shorten(text === '' ? `HTTP status ${status}` : text);
  const isAbsence = status === 404 || notThere.test(text);
  const cause = !isAbsence && passing.test(text) ? new TransientError(message) : undefined;
  return new RcloneFailure(`rclone says: ${message}`, isAbsence, cause && { cause });
}

/** One line, as the messages of rclone's backends are many. */
export function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > longestMessage ? `${line.slice(0, longestMessage)}…` : line;
}

/** True if the error says that an object or folder is not there. */
export function isAbsence(error: unknown): boolean {
  return error instanceof RcloneFailure && error.isAbsence;
}
