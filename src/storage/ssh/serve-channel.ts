import type { Readable, Writable } from 'node:stream';

/** Two streams of bytes to a server, whatever carries them. */
export interface ServeChannel {
  /** From the server. */
  readonly input: Readable;
  /** To the server. */
  readonly output: Writable;
  /** Why there are no more bytes from the server, when they have ended: an error for the requests that are under way. */
  explainEnd(): Promise<Error>;
  /** Called when the server has shown that it is one. */
  onConnected(): void;
  close(): Promise<void>;
}
