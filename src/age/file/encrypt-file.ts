import { concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { encryptStream } from '../encrypt-stream.ts';
import { createEnvelope } from '../envelope.ts';
import { countChunks, derivePayloadKey, encryptPayload, generatePayloadNonce } from '../payload.ts';
import type { Recipient } from '../recipient.ts';
import { writeFully } from './blocking-io.ts';
import { explainSystemError, positionalSize, readRest, readStart } from './file-io.ts';
import type { FileOptions } from './file-io.ts';
import { runOrdered } from './run-ordered.ts';
import { runSegments } from './run-segments.ts';
import { createSegmentState, firstMissingSegment } from './segments.ts';
import type { SegmentJob } from './segments.ts';

export interface EncryptFileOptions extends FileOptions {
  readonly recipients: readonly Recipient[];
  readonly armor?: boolean;
}

/** What is read before workers are worth starting. */
const startBytes = 512 * 1024;

/**
 * Encrypts what one descriptor gives into another: regular files on several threads at once, anything else in order.
 * After a failure the output is not a whole age file; the caller removes it.
 * @throws as createEnvelope; failed if reading or writing fails, or if the input shrinks meanwhile
 */
export async function encryptFile(options: EncryptFileOptions): Promise<void> {
  try {
    if (options.armor) await encryptArmored(options);
    else await encryptBinary(options);
  } catch (error) {
    throw explainSystemError('encrypt', error);
  }
}

async function encryptArmored({
  inputFd,
  openOutput,
  recipients,
  onProgress,
  signal,
}: EncryptFileOptions): Promise<void> {
  let outputFd: number | undefined;
  let bytesDone = 0;
  async function* source(): AsyncGenerator<Uint8Array, void, void> {
    for await (const piece of readRest(inputFd)) {
      signal?.throwIfAborted();
      yield piece;
      bytesDone += piece.length;
      onProgress?.(bytesDone);
    }
  }
  for await (const part of encryptStream(source(), recipients, { armor: true }))
    writeFully((outputFd ??= openOutput()), [part], null);
}

async function encryptBinary(options: EncryptFileOptions): Promise<void> {
  const { inputFd, onProgress, signal } = options;
  const { fileKey, header } = await createEnvelope(options.recipients);
  signal?.throwIfAborted();
  const outputFd = options.openOutput();
  const size = positionalSize(inputFd);
  // A size of 0 may also mean that it is not known.
  if (size !== undefined && size > 0 && positionalSize(outputFd) !== undefined) {
    await encryptRegularFile(options, outputFd, fileKey, header, size);
    return;
  }
  const start = await readStart(inputFd, startBytes);
  if (start.length < startBytes) {
    writeFully(outputFd, [header, ...encryptPayload(fileKey, start)], null);
    onProgress?.(start.length);
    return;
  }
  const nonce = generatePayloadNonce();
  writeFully(outputFd, [header, nonce], null);
  const payloadKey = derivePayloadKey(fileKey, nonce);
  const direction = 'encrypt';
  await runOrdered({
    direction,
    payloadKey,
    inputFd,
    outputFd,
    firstChunk: 0,
    prefix: start,
    onProgress,
    signal,
  });
}

async function encryptRegularFile(
  { inputFd, onProgress, signal, threads }: EncryptFileOptions,
  outputFd: number,
  fileKey: Uint8Array,
  header: Uint8Array,
  size: number,
): Promise<void> {
  const nonce = generatePayloadNonce();
  const start = concatBytes([header, nonce]);
  writeFully(outputFd, [start], 0);
  const job: SegmentJob = {
    direction: 'encrypt',
    payloadKey: derivePayloadKey(fileKey, nonce),
    inputFd,
    outputFd,
    inputOffset: 0,
    outputOffset: start.length,
    inputBytes: size,
    chunks: countChunks(size),
    state: createSegmentState(),
  };
  await runSegments(job, { threads, onProgress, signal });
  if (firstMissingSegment(job) !== undefined)
    throw new SalvageError('failed', 'Cannot encrypt the file: it became shorter while it was read');
}
