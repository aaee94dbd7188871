/** Something about a restored object that could not be made as it was. The object is there; the run goes on. */
export interface TargetProblem {
  readonly path: Buffer;
  /** What could not be set: "owner", "mode", "extended attribute user.x", "time". */
  readonly what: string;
  /** The present state, for a person. */
  readonly message: string;
  readonly cause?: unknown;
}
