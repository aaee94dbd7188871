import { pipeline, Transform, type Readable } from 'node:stream';
import type {
  $Command,
  S3Client,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3';
import { SalvageError } from '../../errors/salvage-error.ts';
import { isObjectName } from '../object-name.ts';
import { retry, type RetrySettings } from '../retry/backoff.ts';
import type { Retention } from '../storage.ts';
import { RequestSlots } from '../request-slots.ts';
import { describeFailure, failureName, noObjectLock } from './s3-failure.ts';
import type { S3Place } from './s3-place.ts';

const requestsUnderWay = 16;
/** A thousand names of a thousand bytes, in XML. */
const largestReplyBytes = 8 * 1024 * 1024;

export interface S3BucketOptions {
  readonly client: S3Client;
  readonly place: S3Place;
  /** The URL, for messages. */
  readonly description: string;
  /** For requests that no decorator can repeat. */
  readonly retries: RetrySettings;
}

/** The part of an answer that is looked at before the SDK reads it. */
interface Response {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  body: Readable;
}

type S3Command<Input extends ServiceInputTypes, Output extends ServiceOutputTypes> = $Command<
  Input,
  Output,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes
>;

/** What the parts of S3Storage share: the client, the keys of objects, a bound on requests, errors with names. */
export class S3Bucket {
  readonly place: S3Place;
  readonly description: string;
  readonly retries: RetrySettings;
  /** New objects are locked so. */
  retention: Retention | undefined;
  readonly #client: S3Client;
  readonly #slots: RequestSlots = new RequestSlots(requestsUnderWay);
  #hostName = '';
  #takesConditions = true;
  #serverTimeMs = NaN;

  constructor({ client, place, description, retries }: S3BucketOptions) {
    this.retries = retries;
    this.#client = client;
    this.place = place;
    this.description = description;
    client.middlewareStack.add(
      (next) => async (args) => {
        this.#hostName = (args.request as { readonly hostname: string }).hostname;
        return await next(args);
      },
      { step: 'build', name: 'salvageHostName' },
    );
    client.middlewareStack.add(
      (next, context) => async (args) => {
        const result = await next(args);
        const response = result.response as Response;
        this.#serverTimeMs = Date.parse(response.headers['date'] ?? '');
        const isObject = context.commandName === 'GetObjectCommand' && response.statusCode < 300;
        if (!isObject) response.body = limited(response.body);
        return result;
      },
      // Closest to the wire: what it returns is what is parsed.
      { step: 'deserialize', priority: 'low', name: 'salvageReplyLimit' },
    );
  }

  /**
   * True if the server is known to honour `If-None-Match` whatever kind of bucket it is. Others ignore it in versioned
   * buckets; they are asked whether the object is there before it is sent.
   */
  get honoursConditions(): boolean {
    return /\.amazonaws\.com(?:\.cn)?$/.test(this.#hostName);
  }

  /** When the server answered last, by its clock, in milliseconds since 1970; NaN if it did not say. */
  get serverTimeMs(): number {
    return this.#serverTimeMs;
  }

  /**
   * Does a request with the condition that no object of the name is there, and without it where the server knows no
   * conditions. @throws what it throws otherwise
   */
  async conditionally<T>(work: (condition: { readonly IfNoneMatch?: '*' }) => Promise<T>): Promise<T> {
    if (this.#takesConditions) {
      try {
        return await work({ IfNoneMatch: '*' });
      } catch (error) {
        if (!(error instanceof SalvageError) || error.details['failure'] !== 'NotImplemented') throw error;
        this.#takesConditions = false;
      }
    }
    return await work({});
  }

  keyOf(name: string): string {
    return this.place.prefix + name;
  }

  /** Undefined for keys that no object of ours has. Keys come as EncodingType "url" has them. */
  nameOf(key: string | undefined): string | undefined {
    const plain = (key ?? '').replaceAll(/%2F/gi, '/');
    const name = plain.startsWith(this.place.prefix) ? plain.slice(this.place.prefix.length) : '';
    return isObjectName(name) ? name : undefined;
  }

  /**
   * Does the work when there is room for its requests. @throws what `describeFailure` makes of its error, unless `expected`
   * wants that; the signal's reason
   */
  async request<T>(
    doing: string,
    work: (client: S3Client) => Promise<T>,
    signal?: AbortSignal,
    expected?: (error: unknown) => boolean,
  ): Promise<T> {
    return await this.#slots.run(async () => {
      signal?.throwIfAborted();
      try {
        return await work(this.#client);
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof SalvageError || expected?.(error)) throw error;
        throw describeFailure(doing, this.description, this.retention ? namingLock(error) : error);
      }
    });
  }

  /** Sends a command: the request that most are. @throws as `request` */
  async send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    doing: string,
    command: S3Command<Input, Output>,
    signal?: AbortSignal,
    expected?: (error: unknown) => boolean,
  ): Promise<Output> {
    const send = (client: S3Client): Promise<Output> =>
      client.send(command, signal ? { abortSignal: signal } : {});
    return await this.request(doing, send, signal, expected);
  }

  /** The same, again as long as errors are transient: for what is safe to repeat and no decorator sees. */
  async sendPatiently<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    ...[doing, command, signal, expected]: Parameters<typeof this.send<Input, Output>>
  ): Promise<Output> {
    return await retry(this.retries, () => this.send(doing, command, signal, expected), signal);
  }

  destroy(): void {
    this.#client.destroy();
  }
}

/** Where a listing goes on, as EncodingType "url" has it, for the request that asks for more. */
export function decodeMarker(marker: string): string {
  try {
    return decodeURIComponent(marker);
  } catch {
    return marker;
  }
}

/** Replies that are no objects are read whole before they are parsed. */
function limited(body: Readable): Readable {
  let room = largestReplyBytes;
  const limit = new Transform({
    transform(piece: Uint8Array, _, done): void {
      room -= piece.length;
      if (room < 0) done(new Error('the reply is longer than any reply of an S3 server'));
      else done(null, piece);
    },
  });
  // An error of either ends both.
  pipeline(body, limit, () => {});
  return limit;
}

/** Some servers say no more than that a request with a lock is not valid where the bucket has none. */
function namingLock(error: unknown): unknown {
  if (failureName(error) !== 'InvalidRequest') return error;
  return Object.assign(new Error((error as Error).message, { cause: error }), { name: noObjectLock });
}
