/** The only reader of time: everything else is given a Clock, so that tests can set it. */
export interface Clock {
  /** Wall clock. May jump in either direction. */
  now(): Date;
  /** Milliseconds that never go back, for rates and time limits. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
};
