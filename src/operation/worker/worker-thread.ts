import { workerData } from 'node:worker_threads';
import { describeFailure } from '../../errors/worker-failure.ts';
import { Inbox, RunGivenUp } from './inbox.ts';
import { ObjectReader } from './object-reader.ts';
import type { FromThread, ObjectAnswer, ThreadSetup, ToThread } from './worker-messages.ts';

/** What a thread of a WorkerPool does. All of it is synchronous. */
export interface ThreadWork<Job, Answer> {
  run(job: Job): Answer;
  /** Memory that goes over with an answer, so that it need not be copied. */
  transferOf?(answer: Answer): readonly ArrayBuffer[];
  /** However the thread ends. */
  close?(): void;
}

/** A thread of a WorkerPool, as its own code sees it. */
export class WorkerThread<Settings, Supply = never, Notice = never> {
  readonly settings: Settings;
  readonly objects: ObjectReader;
  readonly #inbox: Inbox<ToThread<unknown, Supply>>;
  readonly #post: (message: FromThread<never, Notice>, transfer: readonly ArrayBuffer[]) => void;

  constructor(
    { settings, objectsFolder }: ThreadSetup<Settings>,
    inbox: Inbox<ToThread<unknown, Supply>>,
    post: (message: FromThread<never, Notice>, transfer: readonly ArrayBuffer[]) => void,
  ) {
    this.settings = settings;
    this.#inbox = inbox;
    this.#post = post;
    const throwIfGivenUp = (): void => inbox.throwIfGivenUp();
    this.objects = new ObjectReader(
      objectsFolder === undefined
        ? {
            ask: (request) => {
              post({ kind: 'read', request }, []);
              return inbox.receive(isObject).answer;
            },
          }
        : { folder: objectsFolder, throwIfGivenUp },
    );
  }

  /** Sleeps until there is a supply that is wanted. @throws RunGivenUp */
  take<Wanted extends Supply>(wanted: (supply: Supply) => supply is Wanted): Wanted {
    const isWanted = (
      message: ToThread<unknown, Supply>,
    ): message is { readonly kind: 'supply'; readonly supply: Wanted } =>
      message.kind === 'supply' && wanted(message.supply);
    return this.#inbox.receive(isWanted).supply;
  }

  tell(notice: Notice, transfer: readonly ArrayBuffer[] = []): void {
    this.#post({ kind: 'notice', notice }, transfer);
  }

  /** To be called now and then by whatever takes long. @throws RunGivenUp */
  throwIfGivenUp(): void {
    this.#inbox.throwIfGivenUp();
  }
}

/** The life of a thread: it does one job after the other until the pool gives it up or something fails. */
export function serveJobs<Settings, Job, Answer, Supply = never, Notice = never>(
  begin: (thread: WorkerThread<Settings, Supply, Notice>) => ThreadWork<Job, Answer>,
): void {
  const setup = workerData as ThreadSetup<Settings>;
  const { port } = setup.inbox;
  const inbox = new Inbox<ToThread<Job, Supply>>(setup.inbox);
  const post = (message: FromThread<Answer, Notice>, transfer: readonly ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer);
  let work: ThreadWork<Job, Answer> | undefined;
  try {
    work = begin(new WorkerThread(setup, inbox, post));
    for (;;) {
      const { job } = inbox.receive(isJob);
      const answer = work.run(job);
      post({ kind: 'answer', answer }, work.transferOf?.(answer));
    }
  } catch (error) {
    if (!(error instanceof RunGivenUp)) post({ kind: 'failed', failure: describeFailure(error) });
  } finally {
    work?.close?.();
    port.close();
  }
}

function isJob<Job>(message: ToThread<Job, unknown>): message is { readonly kind: 'job'; readonly job: Job } {
  return message.kind === 'job';
}

function isObject(
  message: ToThread<unknown, unknown>,
): message is { readonly kind: 'object'; readonly answer: ObjectAnswer } {
  return message.kind === 'object';
}
