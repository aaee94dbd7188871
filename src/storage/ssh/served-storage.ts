import { concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkListPrefix, checkObjectName } from '../object-name.ts';
import { NotThisProtocol } from '../serve/frame.ts';
import { errorCodes, Refusal } from '../serve/messages.ts';
import { SshFailure } from '../ssh-program/ssh-failure.ts';
import { stagedParts, type StagedObject, type StageSpec } from '../staged-object.ts';
import {
  largestObjectBytes,
  type ByteRange,
  type CreateResult,
  type ObjectStat,
  type Storage,
  type StorageCapabilities,
} from '../storage.ts';
import { TransientError } from '../transient-error.ts';
import type { ServeClient } from './serve-client.ts';

/** Makes a connection; called again when the last one is lost. */
export type ConnectServer = () => Promise<ServeClient>;

/**
 * What a `salvage serve` on the other side of a connection stores. When the connection is lost, calls that are under way
 * fail and the next one makes a new connection. A `create` that has returned is durable: the server settles each.
 */
export class ServedStorage implements Storage {
  readonly description: string;
  readonly capabilities: StorageCapabilities;
  readonly stageSpec: StageSpec = { kind: 'transfer' };
  readonly #connect: ConnectServer;
  #client: Promise<ServeClient>;
  #isClosed = false;
  /** True after what the server does not make durable before it answers. */
  #isUnsettled = false;

  /** @throws failed if the server cannot be reached or refuses to serve */
  static async open(description: string, connect: ConnectServer): Promise<ServedStorage> {
    try {
      return new ServedStorage(description, connect, await connect());
    } catch (error) {
      throw asFailure(`use the repository "${description}"`, error);
    }
  }

  private constructor(description: string, connect: ConnectServer, client: ServeClient) {
    this.description = description;
    this.#connect = connect;
    this.#client = Promise.resolve(client);
    const { exclusiveCreate, mayRemove } = client.welcome;
    this.capabilities = { exclusiveCreate, remove: mayRemove };
  }

  async create(name: string, body: readonly Uint8Array[], signal?: AbortSignal): Promise<CreateResult> {
    const sizeBytes = body.reduce((sum, part) => sum + part.length, 0);
    return await this.#noting(
      this.#ask('store', name, signal, (client) => client.create(name, sizeBytes, body, signal)),
    );
  }

  async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    // What the source of the bytes throws is not this storage's failure.
    let thrown: { readonly error: unknown } | undefined;
    async function* parts(): AsyncGenerator<Uint8Array> {
      try {
        yield* body;
      } catch (error) {
        thrown = { error };
        throw error;
      }
    }
    const stored = this.#ask('store', name, signal, async (client) => {
      try {
        return await client.create(name, undefined, parts(), signal);
      } catch (error) {
        throw thrown ? new SourceFailure(thrown.error) : error;
      }
    });
    return await this.#noting(stored);
  }

  async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.create(staged.name, stagedParts(staged), signal);
  }

  async settle(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!this.#isUnsettled) return;
    this.#isUnsettled = false;
    try {
      await this.#ask('settle', '', signal, (client) => client.settle(signal));
    } catch (error) {
      this.#isUnsettled = true;
      throw error;
    }
  }

  /** Without a range, of an object of at most `largestObjectBytes`. */
  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const { offset = 0, length } = range ?? {};
    return await this.#ask('read', name, signal, async (client) => {
      const parts = await client.read({ name, offset, length }, length ?? largestObjectBytes, signal);
      return parts && concatBytes(parts);
    });
  }

  async stat(name: string, signal?: AbortSignal): Promise<ObjectStat | undefined> {
    return await this.#ask('look at', name, signal, (client) => client.stat(name, signal));
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    checkListPrefix(prefix);
    signal?.throwIfAborted();
    try {
      yield* (await this.#connected()).list(prefix, signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw asFailure(`list "${prefix}" in "${this.description}"`, error);
    }
  }

  async remove(name: string, signal?: AbortSignal): Promise<'removed' | 'absent'> {
    this.#isUnsettled = true;
    return await this.#ask('remove', name, signal, (client) => client.remove(name, signal));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = await this.#client.catch(() => undefined);
    await client?.close();
  }

  /** What the server has created is durable; of all else there is no saying. */
  async #noting(creating: Promise<CreateResult>): Promise<CreateResult> {
    let result: CreateResult | undefined;
    try {
      return (result = await creating);
    } finally {
      if (result !== 'created') this.#isUnsettled = true;
    }
  }

  async #ask<T>(
    what: string,
    name: string,
    signal: AbortSignal | undefined,
    ask: (client: ServeClient) => Promise<T>,
  ): Promise<T> {
    if (name !== '') checkObjectName(name);
    signal?.throwIfAborted();
    try {
      return await ask(await this.#connected());
    } catch (error) {
      if (error instanceof SourceFailure) throw error.cause;
      if (signal?.aborted) throw error;
      throw asFailure(`${what} "${name === '' ? 'everything' : name}" in "${this.description}"`, error);
    }
  }

  /** The connection; a new one if the last is lost, and one for all who ask at the same time. */
  async #connected(): Promise<ServeClient> {
    if (this.#isClosed) throw new Error('the storage has been closed');
    const asked = this.#client;
    const client = await asked.catch(() => undefined);
    if (client && !client.hasEnded) return client;
    if (this.#client === asked) this.#client = this.#connect();
    return await this.#client;
  }
}

class SourceFailure extends Error {
  constructor(cause: unknown) {
    super('the source of the bytes failed', { cause });
  }
}

const hints: Readonly<Record<number, string>> = {
  [errorCodes.denied]:
    'The key of this host opens a door that is append-only; use a key with more rights for that.',
  [errorCodes.quota]: 'Ask whoever keeps the server to prune, or to raise --quota.',
  [errorCodes.tooLarge]: 'Whoever keeps the server sets the largest object, with --max-object.',
};
const transientCodes: ReadonlySet<number> = new Set([
  errorCodes.timeOut,
  errorCodes.busy,
  errorCodes.cancelled,
]);

/** Names what was asked for, and says whether asking again may help. */
function asFailure(what: string, error: unknown): SalvageError {
  if (error instanceof SalvageError) return error;
  let hint: string | undefined;
  let cause = error;
  let { message } = error as Error;
  if (error instanceof SshFailure) {
    ({ hint } = error);
    if (error.isTransient) cause = new TransientError(message, { cause: error });
    if (/not found$/i.test(message))
      hint =
        'salvage must be installed on the server, or the key be tied to "salvage serve" there: see the manual, "Storage over SSH".';
  } else if (error instanceof Refusal) {
    hint = hints[error.code];
    if (transientCodes.has(error.code)) cause = new TransientError(message, { cause: error });
  } else if (error instanceof NotThisProtocol) {
    message = `what answers there is not salvage: it says "${error.said}"`;
    hint =
      'Is the key tied to "salvage serve --stdio" on the server? Nothing else may print when it logs in.';
  }
  return new SalvageError('failed', `Cannot ${what}: ${message}`, {
    cause,
    ...(hint !== undefined && { hint }),
  });
}
