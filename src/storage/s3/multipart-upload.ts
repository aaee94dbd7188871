import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
  type CompletedPart,
} from '@aws-sdk/client-s3';
import { SalvageError } from '../../errors/salvage-error.ts';
import { retry } from '../retry/backoff.ts';
import { isTaken } from './s3-failure.ts';
import { retentionParameters } from './s3-object-lock.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { signFor, uploadBody } from './upload-body.ts';

/** Together with the size of a part this bounds memory. */
const partsUnderWay = 4;
const mostParts = 10_000;

export interface MultipartUploadOptions {
  readonly bucket: S3Bucket;
  readonly name: string;
  readonly signal?: AbortSignal | undefined;
}

/** The version that came of an upload, where there are versions. */
export interface UploadedVersion {
  readonly id: string | undefined;
}

/**
 * Stores an object part by part, a few at a time. Each item of `parts` is one part; all but the last must have the same
 * size of 5 MiB or more. If `parts` throws or anything fails for good, no object comes into being and what was sent is
 * discarded; only if this process dies too do parts stay behind, for `removeUnfinished` and the bucket's lifecycle rule.
 */
export async function uploadInParts(
  parts: AsyncIterable<readonly Uint8Array[]> | Iterable<readonly Uint8Array[]>,
  options: MultipartUploadOptions,
): Promise<UploadedVersion | 'exists'> {
  const { bucket, name, signal } = options;
  const target = { Bucket: bucket.place.bucket, Key: bucket.keyOf(name) };
  const doing = `store "${name}"`;
  const withChecksums = bucket.place.checksums === 'sha256';
  const begin = new CreateMultipartUploadCommand({
    ...target,
    ...retentionParameters(bucket.retention),
    ...(withChecksums && { ChecksumAlgorithm: 'SHA256' }),
  });
  const { UploadId } = await bucket.send(doing, begin, signal);
  const failure = new AbortController();
  const stop = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const upload = { ...target, UploadId };
  const sent: CompletedPart[] = [];
  const underWay = new Set<Promise<void>>();

  const send = async (PartNumber: number, part: readonly Uint8Array[]): Promise<void> => {
    const sendOnce = async (): Promise<void> => {
      const body = uploadBody(part, bucket.place.checksums);
      const command = new UploadPartCommand({ ...upload, PartNumber, ...body.parameters });
      signFor(command, body);
      const { ETag } = await bucket.send(doing, command, stop);
      const { ChecksumSHA256 } = body.parameters;
      sent[PartNumber - 1] = { PartNumber, ETag, ...(withChecksums && { ChecksumSHA256 }) };
    };
    // A part can be sent again for as long as it is in memory; the object as a whole cannot.
    await retry(bucket.retries, sendOnce, stop);
  };

  try {
    let number = 0;
    for await (const part of parts) {
      stop.throwIfAborted();
      if (++number > mostParts) throw tooLong(name, bucket);
      const sending = send(number, part).finally(() => underWay.delete(sending));
      sending.catch((error: unknown) => failure.abort(error));
      underWay.add(sending);
      if (underWay.size >= partsUnderWay) await Promise.race(underWay);
    }
    await Promise.all(underWay);
    const parameters = { ...upload, MultipartUpload: { Parts: sent } };
    try {
      const { VersionId: id } = await bucket.conditionally(async (condition) => {
        const complete = new CompleteMultipartUploadCommand({ ...parameters, ...condition });
        return await bucket.send(doing, complete, stop, isTaken);
      });
      return { id };
    } catch (error) {
      if (!isTaken(error)) throw error;
      await discard();
      return 'exists';
    }
  } catch (error) {
    failure.abort(error);
    await Promise.allSettled(underWay);
    await discard();
    signal?.throwIfAborted();
    throw error;
  }

  /** Best effort: the failure that led here is what counts, and the lifecycle rule removes what stays. */
  async function discard(): Promise<void> {
    await bucket.send(doing, new AbortMultipartUploadCommand(upload)).catch(() => {});
  }
}

function tooLong(name: string, { place, description }: S3Bucket): SalvageError {
  const size = (mostParts * place.partBytes) / 2 ** 30;
  return new SalvageError(
    'failed',
    `Cannot store "${name}" in "${description}": it has more than ${Math.floor(size)} GiB, as much as ${mostParts} parts hold`,
    { hint: 'Choose larger parts: add "part-size=64M" to the URL.' },
  );
}
