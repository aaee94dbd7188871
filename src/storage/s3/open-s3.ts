import { readFileSync } from 'node:fs';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { SalvageError } from '../../errors/salvage-error.ts';
import { patientRetries, type RetrySettings } from '../retry/backoff.ts';
import { parseS3Url } from './s3-place.ts';
import { S3Storage } from './s3-storage.ts';

export interface S3Settings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Something that a user should know while the storage is used. */
  readonly notify?: ((message: string) => void) | undefined;
  /** For parts of uploads; tests want less patience. */
  readonly retries?: RetrySettings | undefined;
}

const connectTimeoutMs = 10_000;
/** Without a byte in either direction. */
const silenceTimeoutMs = 60_000;
const maxCaBytes = 4 * 1024 * 1024;

/**
 * The storage that an s3:// URL names. What the URL leaves out comes from where the AWS tools take it: environment,
 * shared configuration files, instance; so do the credentials, and nothing is asked of the server yet.
 * @throws usage for a URL or a file of certificates that cannot be used
 */
export function openS3(url: string, { env, notify, retries }: S3Settings): S3Storage {
  const place = parseS3Url(url);
  const hasEndpoint = Boolean(place.endpoint ?? env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL']);
  const caFile = place.caFile ?? env['AWS_CA_BUNDLE'];
  const agent = { keepAlive: true, maxSockets: 64 };
  const config: S3ClientConfig = {
    ...(place.endpoint !== undefined && { endpoint: place.endpoint }),
    ...(place.profile !== undefined && { profile: place.profile }),
    ...regionOf(place.region, hasEndpoint, env),
    // Servers of one's own seldom have a host name for each bucket.
    forcePathStyle: place.pathStyle ?? hasEndpoint,
    // Retries are one decorator's business, and what is read is compared with what was signed.
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      socketTimeout: silenceTimeoutMs,
      httpAgent: agent,
      httpsAgent: { ...agent, ...(caFile ? { ca: readCertificates(caFile) } : {}) },
    },
    logger: silence,
  };
  return new S3Storage({
    client: new S3Client(config),
    place,
    description: url,
    notify: notify ?? (() => {}),
    retries: retries ?? patientRetries,
  });
}

/** A server of one's own has no region that matters, but a signature needs one. */
function regionOf(
  given: string | undefined,
  hasEndpoint: boolean,
  env: Readonly<Record<string, string | undefined>>,
): { readonly region?: string } {
  if (given !== undefined) return { region: given };
  return hasEndpoint && !env['AWS_REGION'] && !env['AWS_PROFILE'] ? { region: 'us-east-1' } : {};
}

function readCertificates(path: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new SalvageError('usage', `Cannot use the certificates in "${path}": ${(cause as Error).message}`, {
      cause,
    });
  }
  if (bytes.length > maxCaBytes || !bytes.includes('-----BEGIN CERTIFICATE-----'))
    throw new SalvageError('usage', `Cannot use the certificates in "${path}": it is not a file in PEM form`);
  return bytes;
}

const silence: NonNullable<S3ClientConfig['logger']> = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};
