import type { WorkerFailure } from '../../errors/worker-failure.ts';
import type { ByteRange } from '../../storage/storage.ts';
import type { InboxEnd } from './inbox.ts';

/** What every thread of a WorkerPool finds in its workerData. */
export interface ThreadSetup<Settings> {
  readonly inbox: InboxEnd;
  readonly settings: Settings;
  /** Where the objects are plain files; else they are asked for. */
  readonly objectsFolder: string | undefined;
}

export type ToThread<Job, Supply> =
  | { readonly kind: 'job'; readonly job: Job }
  | { readonly kind: 'supply'; readonly supply: Supply }
  | { readonly kind: 'object'; readonly answer: ObjectAnswer };

export type FromThread<Answer, Notice> =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'notice'; readonly notice: Notice }
  | { readonly kind: 'read'; readonly request: ObjectRequest }
  | { readonly kind: 'failed'; readonly failure: WorkerFailure };

/** A thread wants these bytes, and sleeps until it has them. */
export interface ObjectRequest {
  readonly name: string;
  readonly range: ByteRange;
}

/** No bytes if there is no such object. */
export type ObjectAnswer = { readonly bytes: Uint8Array | undefined } | { readonly failure: WorkerFailure };
