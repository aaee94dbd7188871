import { ftruncateSync } from 'node:fs';
import { BinaryInput } from '../binary-input.ts';
import { decryptStream } from '../decrypt-stream.ts';
import { openEnvelopeOrThrow } from '../envelope.ts';
import { HeaderParser } from '../header.ts';
import { PayloadDecryptor } from '../payload-decryptor.ts';
import { chunkBytes, derivePayloadKey, payloadNonceBytes, sealedChunkBytes } from '../payload.ts';
import type { Identity } from '../recipient.ts';
import { readFully, writeFully } from './blocking-io.ts';
import { explainSystemError, positionalSize, readRest, readStart } from './file-io.ts';
import type { FileOptions } from './file-io.ts';
import { runOrdered } from './run-ordered.ts';
import { runSegments } from './run-segments.ts';
import { createSegmentState, firstMissingSegment, sealedSegmentBytes, segmentBytes } from './segments.ts';
import type { SegmentJob } from './segments.ts';

export interface DecryptFileOptions extends FileOptions {
  readonly identities: readonly Identity[];
}

/** What is read before workers are worth starting. */
const startBytes = 512 * 1024;

/**
 * Decrypts what one descriptor gives into another: regular files on several threads at once, anything else in order.
 * Every byte written is authentic, and what is written is the plaintext from its beginning on without a gap: all of it
 * if this returns, as far as it is good if this throws.
 * @throws as decryptStream; failed if reading or writing fails
 */
export async function decryptFile(options: DecryptFileOptions): Promise<void> {
  try {
    await decrypt(options);
  } catch (error) {
    throw explainSystemError('decrypt', error);
  }
}

async function decrypt(options: DecryptFileOptions): Promise<void> {
  const { inputFd, identities, signal } = options;
  const output = new LazyOutput(options.openOutput);
  const start = await readStart(inputFd, startBytes);
  const parser = new HeaderParser();
  const format = new BinaryInput();
  format.push(start);
  if (format.isArmored === true || !parser.push(start)) {
    await decryptByPieces(options, output, start);
    return;
  }
  const fileKey = await openEnvelopeOrThrow(parser.header!, identities);
  signal?.throwIfAborted();

  // The first chunks, before anything is opened or started: most wrong or damaged files end here.
  const sealed = parser.rest;
  const wholeBytes = start.length < startBytes ? sealed.length : wholeChunkBytes(sealed.length);
  const decryptor = new PayloadDecryptor(fileKey);
  const parts = decryptor.push(sealed.subarray(0, wholeBytes));
  const inputSize = positionalSize(inputFd);
  if (start.length < startBytes) {
    finishInOrder(decryptor, output, parts);
  } else if (inputSize !== undefined && parts.length > 0 && positionalSize(output.fd) !== undefined) {
    const payloadOffset = start.length - sealed.length;
    const payloadKey = derivePayloadKey(fileKey, sealed.subarray(0, payloadNonceBytes));
    await decryptRegularFile(options, output.fd, {
      direction: 'decrypt',
      payloadKey,
      inputFd,
      outputFd: output.fd,
      inputOffset: payloadOffset + payloadNonceBytes,
      outputOffset: 0,
      inputBytes: inputSize - payloadOffset - payloadNonceBytes,
      chunks: Math.ceil((inputSize - payloadOffset - payloadNonceBytes) / sealedChunkBytes),
      state: createSegmentState(),
    });
  } else {
    await decryptInOrder(options, output, decryptor, parts, sealed.subarray(wholeBytes));
  }
}

/** A file that is opened when there is something to write into it. */
class LazyOutput {
  readonly #open: () => number;
  #fd: number | undefined;

  constructor(openOutput: () => number) {
    this.#open = openOutput;
  }

  get fd(): number {
    return (this.#fd ??= this.#open());
  }

  write(parts: readonly Uint8Array[]): void {
    if (parts.length > 0) writeFully(this.fd, parts, null);
  }
}

/** Of the nonce and sealed chunks, as many bytes as make whole chunks. */
function wholeChunkBytes(length: number): number {
  const chunks = Math.floor((length - payloadNonceBytes) / sealedChunkBytes);
  return payloadNonceBytes + chunks * sealedChunkBytes;
}

/** Writes what is good, and throws if that is not all. */
function finishInOrder(decryptor: PayloadDecryptor, output: LazyOutput, parts: readonly Uint8Array[]): void {
  output.write(parts);
  output.write(decryptor.finish());
  // An empty plaintext makes an empty file.
  void output.fd;
}

async function decryptByPieces(
  options: DecryptFileOptions,
  output: LazyOutput,
  start: Uint8Array,
): Promise<void> {
  const { inputFd, identities, onProgress, signal } = options;
  async function* source(): AsyncGenerator<Uint8Array, void, void> {
    yield start;
    for await (const piece of readRest(inputFd)) {
      signal?.throwIfAborted();
      yield piece;
    }
  }
  let bytesDone = 0;
  for await (const part of decryptStream(source(), identities)) {
    output.write([part]);
    bytesDone += part.length;
    onProgress?.(bytesDone);
  }
  void output.fd;
}

async function decryptInOrder(
  options: DecryptFileOptions,
  output: LazyOutput,
  decryptor: PayloadDecryptor,
  parts: readonly Uint8Array[],
  prefix: Uint8Array,
): Promise<void> {
  const { inputFd, onProgress, signal } = options;
  const settled = decryptor.failed || decryptor.lastSeen;
  if (settled) {
    // One byte after a last chunk is one too many.
    const more = prefix.length > 0 ? prefix : await readStart(inputFd, 1);
    output.write(parts);
    decryptor.push(more);
    finishInOrder(decryptor, output, []);
    return;
  }
  output.write(parts);
  const firstChunk = decryptor.chunks;
  const bytesBefore = firstChunk * chunkBytes;
  await runOrdered({
    direction: 'decrypt',
    payloadKey: decryptor.payloadKey!,
    inputFd,
    outputFd: output.fd,
    firstChunk,
    prefix,
    onProgress: onProgress && ((bytesDone): void => onProgress(bytesBefore + bytesDone)),
    signal,
  });
}

async function decryptRegularFile(
  { onProgress, signal, threads }: DecryptFileOptions,
  outputFd: number,
  job: SegmentJob,
): Promise<void> {
  try {
    await runSegments(job, { threads, onProgress, signal });
  } finally {
    const missing = firstMissingSegment(job);
    if (missing !== undefined) ftruncateSync(outputFd, missing * segmentBytes);
  }
  const missing = firstMissingSegment(job);
  if (missing !== undefined) finishDamaged(job, missing);
}

/** Goes through a segment that did not decrypt once more, in order, for the chunks before the bad one and for the error. */
function finishDamaged(job: SegmentJob, segment: number): void {
  const chunk = segment * (segmentBytes / chunkBytes);
  const decryptor = new PayloadDecryptor({ payloadKey: job.payloadKey, chunk });
  let inputOffset = job.inputOffset + segment * sealedSegmentBytes;
  let outputOffset = segment * segmentBytes;
  const write = (parts: Uint8Array[]): void => {
    for (const part of parts) {
      writeFully(job.outputFd, [part], outputOffset);
      outputOffset += part.length;
    }
  };
  const buffer = new Uint8Array(sealedSegmentBytes);
  for (;;) {
    const filled = readFully(job.inputFd, buffer, inputOffset);
    write(decryptor.push(buffer.subarray(0, filled)));
    inputOffset += filled;
    if (filled < buffer.length) break;
  }
  write(decryptor.finish());
}
