import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import type { ByteRange } from '../storage.ts';
import { failureName, isAbsence } from './s3-failure.ts';
import type { S3Bucket } from './s3-bucket.ts';

/** As `Storage.read`; `length` of a range is not 0. `version`: of this id, else what the name stands for now. */
export async function readObject(
  bucket: S3Bucket,
  name: string,
  version: string | undefined,
  range?: ByteRange,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  const command = new GetObjectCommand({
    Bucket: bucket.place.bucket,
    Key: bucket.keyOf(name),
    ...(version !== undefined && { VersionId: version }),
    ...(range && { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }),
  });
  const isExpected = (error: unknown): boolean => isAbsence(error) || isBehindEnd(error);
  try {
    return await bucket.request(
      `read "${name}"`,
      async (client) => {
        const { Body, ContentLength } = await client.send(command, signal ? { abortSignal: signal } : {});
        return await collect(Body as Readable, boundOf(ContentLength, range), signal);
      },
      signal,
      isExpected,
    );
  } catch (error) {
    if (isAbsence(error)) return undefined;
    if (isBehindEnd(error)) return new Uint8Array(0);
    throw error;
  }
}

function isBehindEnd(error: unknown): boolean {
  return failureName(error) === 'InvalidRange';
}

/** How many bytes are to come. @throws Error if that is no number, or more than were asked for */
function boundOf(contentLength: number | undefined, range: ByteRange | undefined): number {
  if (contentLength === undefined || !Number.isSafeInteger(contentLength) || contentLength < 0)
    throw new Error('the server does not say how much it sends');
  if (range && contentLength > range.length)
    throw new Error(`the server sends ${contentLength} bytes where ${range.length} were asked for`);
  return contentLength;
}

async function collect(body: Readable, length: number, signal?: AbortSignal): Promise<Uint8Array> {
  const stop = (): void => {
    body.destroy(new Error('stopped'));
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const bytes = new Uint8Array(length);
    let filled = 0;
    for await (const piece of body as AsyncIterable<Uint8Array>) {
      if (filled + piece.length > length) throw new Error('the server sends more than it said');
      bytes.set(piece, filled);
      filled += piece.length;
    }
    if (filled < length) throw new Error('premature close');
    return bytes;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}
