import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
} from '@aws-sdk/client-s3';
import { isAbsence } from './s3-failure.ts';
import { decodeMarker, type S3Bucket } from './s3-bucket.ts';

/** What salvage stores in parts: archives and large packs. Other uploads below the prefix may be another program's. */
const ours = /\.age$/;
/** A thousand uploads, or parts, each: what a server may keep us busy with. */
const mostPages = 1000;

/** An upload in parts that has not come to its end. */
interface Upload {
  readonly name: string;
  readonly id: string;
  readonly begunMs: number;
}

/**
 * Ends uploads in parts of age files below the prefix of which nothing has arrived for so long, by the clock of the server.
 * Returns how many. @throws failed, also without the rights to see and to end them
 */
export async function removeUnfinishedUploads(
  bucket: S3Bucket,
  untouchedMs: number,
  signal?: AbortSignal,
): Promise<number> {
  let removed = 0;
  for await (const upload of listUploads(bucket, signal)) {
    // NaN if the server does not tell its time: then nothing is old.
    const newestMs = bucket.serverTimeMs - untouchedMs;
    if (!(upload.begunMs < newestMs) || (await hasPartSince(bucket, upload, newestMs, signal))) continue;
    if (await abort(bucket, upload, signal)) removed++;
  }
  return removed;
}

async function* listUploads(bucket: S3Bucket, signal?: AbortSignal): AsyncGenerator<Upload> {
  let KeyMarker: string | undefined;
  let UploadIdMarker: string | undefined;
  for (let pages = 0; pages < mostPages; pages++) {
    const command = new ListMultipartUploadsCommand({
      Bucket: bucket.place.bucket,
      Prefix: bucket.place.prefix,
      EncodingType: 'url',
      KeyMarker,
      UploadIdMarker,
    });
    const page = await bucket.send('list unfinished uploads', command, signal);
    for (const { Key, UploadId: id, Initiated } of page.Uploads ?? []) {
      const name = bucket.nameOf(Key);
      if (name === undefined || !ours.test(name) || id === undefined || !Initiated) continue;
      yield { name, id, begunMs: Initiated.getTime() };
    }
    if (!page.IsTruncated || page.NextKeyMarker === undefined) return;
    KeyMarker = decodeMarker(page.NextKeyMarker);
    UploadIdMarker = page.NextUploadIdMarker;
  }
}

/** An upload that was begun long ago may be a long one. */
async function hasPartSince(
  bucket: S3Bucket,
  { name, id: UploadId }: Upload,
  sinceMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  let PartNumberMarker: string | undefined;
  for (let pages = 0; pages < mostPages; pages++) {
    const target = { Bucket: bucket.place.bucket, Key: bucket.keyOf(name), UploadId };
    const command = new ListPartsCommand({ ...target, PartNumberMarker });
    try {
      const page = await bucket.send(`look at the upload of "${name}"`, command, signal, isAbsence);
      for (const { LastModified } of page.Parts ?? [])
        if (!((LastModified?.getTime() ?? NaN) < sinceMs)) return true;
      if (!page.IsTruncated) return false;
      PartNumberMarker = page.NextPartNumberMarker;
    } catch (error) {
      if (isAbsence(error)) return false;
      throw error;
    }
  }
  return true;
}

/** False if it has come to its end meanwhile. */
async function abort(
  bucket: S3Bucket,
  { name, id: UploadId }: Upload,
  signal?: AbortSignal,
): Promise<boolean> {
  const target = { Bucket: bucket.place.bucket, Key: bucket.keyOf(name), UploadId };
  try {
    await bucket.send(
      `end the upload of "${name}"`,
      new AbortMultipartUploadCommand(target),
      signal,
      isAbsence,
    );
    return true;
  } catch (error) {
    if (isAbsence(error)) return false;
    throw error;
  }
}
