import type { Clock } from '../clock/clock.ts';
import { displayWidth, truncateToWidth } from './display-width.ts';
import { formatDuration } from './duration.ts';
import { escapeForTerminal } from './escape.ts';
import { formatRate, formatSize } from './size.ts';

const refreshMs = 200;
/** A guess of the time left made earlier than this jumps about. */
const settleMs = 2000;

interface ProgressOutput {
  columns(): number;
  write(text: string): void;
}

/**
 * One line that says how far a run is: bytes, files, rate, time left. Redrawn in place, at most five times a second,
 * never wider than the terminal: what matters least is left out first. `advance` is cheap enough for the hot path.
 */
export class Progress {
  #label: string;
  readonly #whole: Progress | undefined;
  readonly #clock: Clock;
  readonly #output: ProgressOutput | undefined;
  readonly #startMs: number;
  #nextDrawMs: number;
  #drawn = false;
  #bytes = 0;
  #files = 0;
  #totalBytes: number | undefined;
  #totalFiles: number | undefined;

  /** Without an output it counts and shows nothing. `whole`: of what this is a part. */
  constructor(label: string, clock: Clock, output?: ProgressOutput, whole?: Progress) {
    this.#whole = whole;
    this.#label = label;
    this.#clock = clock;
    this.#output = output;
    this.#startMs = clock.monotonicMs();
    this.#nextDrawMs = this.#startMs + refreshMs;
  }

  /** False where nobody sees it, so that no work need be done for its sake. */
  get isShown(): boolean {
    return this.#output !== undefined;
  }

  setLabel(label: string): void {
    this.#label = label;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get files(): number {
    return this.#files;
  }

  /** What there is to do in all, as far as it is known by now. With it the line says per cent and time left. */
  setTotal(totalBytes: number | undefined, totalFiles?: number): void {
    this.#totalBytes = totalBytes;
    this.#totalFiles = totalFiles;
  }

  /** Adds what was done since the last call. */
  advance(bytes: number, files = 0): void {
    this.#bytes += bytes;
    this.#files += files;
    this.#whole?.advance(bytes, files);
    if (this.#output === undefined || (this.#bytes === 0 && this.#files === 0)) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextDrawMs) return;
    this.#nextDrawMs = nowMs + refreshMs;
    this.#output.write(`\r${this.#render(nowMs)}\x1b[K`);
    this.#drawn = true;
  }

  /** Takes the line away so that a message can be written; the next `advance` brings it back. */
  clear(): void {
    if (!this.#drawn) return;
    this.#output?.write('\r\x1b[K');
    this.#drawn = false;
  }

  /** Takes the line away for good. */
  end(): void {
    this.clear();
    this.#nextDrawMs = Infinity;
  }

  #render(nowMs: number): string {
    const elapsedMs = nowMs - this.#startMs;
    const rate = (this.#bytes / elapsedMs) * 1000;
    let amount = `${escapeForTerminal(this.#label)} ${formatSize(this.#bytes)}`;
    if (this.#totalBytes !== undefined && this.#totalBytes > 0) {
      const share = Math.min(1, this.#bytes / this.#totalBytes);
      amount += ` of ${formatSize(this.#totalBytes)} (${Math.floor(share * 100)} %)`;
    }
    const files = this.#files > 0 || this.#totalFiles !== undefined ? `${this.#files} files` : '';
    const filesOfAll = this.#totalFiles === undefined ? files : `${this.#files} of ${this.#totalFiles} files`;
    const isGuessed = this.#totalBytes !== undefined && elapsedMs >= settleMs && rate > 0;
    const left =
      isGuessed && this.#totalBytes! > this.#bytes
        ? `${formatDuration(((this.#totalBytes! - this.#bytes) / rate) * 1000)} left`
        : '';
    // One column stays free: some terminals wrap when the last one is filled.
    const width = this.#output!.columns() - 1;
    const lines = [
      [amount, filesOfAll, formatRate(rate), left],
      [amount, files, formatRate(rate), left],
      [amount, files, left],
      [amount, left],
    ].map((parts) => parts.filter((part) => part !== '').join(', '));
    return lines.find((line) => displayWidth(line) <= width) ?? truncateToWidth(lines.at(-1)!, width);
  }
}
