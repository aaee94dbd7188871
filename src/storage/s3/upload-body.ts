import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { ChecksumKind } from './s3-place.ts';

/** Bytes to send, with the digests that the server compares. */
export interface UploadBody {
  readonly sizeBytes: number;
  /** In hexadecimal: the request is signed for it. */
  readonly sha256: string;
  /** Parameters of the request: body, size, and the digest that is asked for. */
  readonly parameters: {
    readonly Body: Readable;
    readonly ContentLength: number;
    readonly ChecksumSHA256?: string;
    readonly ContentMD5?: string;
  };
}

/** Makes a body of parts, which are not copied. `sha256` is computed unless it is known. */
export function uploadBody(
  parts: readonly Uint8Array[],
  checksums: ChecksumKind,
  sha256: string = digest('sha256', parts).toString('hex'),
): UploadBody {
  const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0);
  const Body = Readable.from(
    parts.filter(({ length }) => length > 0),
    { objectMode: false },
  );
  return {
    sizeBytes,
    sha256,
    parameters: {
      Body,
      ContentLength: sizeBytes,
      ...(checksums === 'sha256' && { ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64') }),
      ...(checksums === 'md5' && { ContentMD5: digest('md5', parts).toString('base64') }),
    },
  };
}

/** Has the request signed for these bytes and no others. */
export function signFor(
  command: { readonly middlewareStack: { add(middleware: never, options: never): void } },
  { sha256 }: UploadBody,
): void {
  const setHeader =
    (next: (args: unknown) => unknown) =>
    (args: { readonly request: { readonly headers: Record<string, string> } }): unknown => {
      args.request.headers['x-amz-content-sha256'] = sha256;
      return next(args);
    };
  command.middlewareStack.add(setHeader as never, { step: 'build', name: 'salvageContentDigest' } as never);
}

function digest(algorithm: 'sha256' | 'md5', parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest();
}
