import { bytesJson } from './entry-text.ts';
import type { CliContext } from './context.ts';

/** So often a run that is going on says how far it is. */
const progressEveryMs = 1000;

/**
 * What happens in a run, as lines of JSON on standard output, each written as soon as it happens: for `--json`, without
 * which nothing is written. Every line is an object with the member `event`; the last one is `summary`, if the run comes
 * to its end. The schemas are in the manual, on the page of the command.
 *
 * A reader that goes away does not stop the run: the failure shows at the end.
 */
export class JsonEvents {
  readonly #context: CliContext;
  readonly #isOn: boolean;
  readonly #counted: 'files' | 'objects';
  #written: Promise<void> = Promise.resolve();
  #failure: unknown;
  #bytes = 0;
  #count = 0;
  #nextProgressMs: number;

  constructor(isOn: boolean, context: CliContext, counted: 'files' | 'objects' = 'files') {
    this.#isOn = isOn;
    this.#counted = counted;
    this.#context = context;
    this.#nextProgressMs = context.clock.monotonicMs() + progressEveryMs;
  }

  /** Writes an event after those before it, without waiting for it. */
  emit(event: string, members: object = {}): void {
    if (!this.#isOn || this.#failure !== undefined) return;
    const line = `${JSON.stringify({ event, ...members })}\n`;
    this.#written = this.#written.then(() => this.#write(line));
  }

  /** Adds what was done since the last call; about once a second that becomes an event `progress`. */
  advance(bytes: number, count: number): void {
    this.#bytes += bytes;
    this.#count += count;
    if (!this.#isOn) return;
    const nowMs = this.#context.clock.monotonicMs();
    if (nowMs < this.#nextProgressMs) return;
    this.#nextProgressMs = nowMs + progressEveryMs;
    this.emit('progress', { bytes: this.#bytes, [this.#counted]: this.#count });
  }

  /** Resolves when everything so far is written; for who makes many events and can wait. @throws as `end` */
  async drain(): Promise<void> {
    await this.#written;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The last event. @throws what writing any of them has thrown */
  async end(members: object): Promise<void> {
    this.emit('summary', members);
    await this.drain();
  }

  async #write(line: string): Promise<void> {
    try {
      if (this.#failure === undefined) await this.#context.stdout.write(line);
    } catch (error) {
      this.#failure = error;
    }
  }
}

/** A path in an event: `path`, or `path64` where its bytes are not UTF-8. */
export function pathJson(path: Buffer): Record<string, string> {
  return bytesJson('path', path);
}
