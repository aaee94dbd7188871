import { SalvageError } from '../../errors/salvage-error.ts';
import { TransientError } from '../transient-error.ts';

/** What the SDK throws: an answer of the server, or what kept one from coming. */
interface Failure extends Error {
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

/** The server wants to be asked again. */
const patience = new Set([
  'BadDigest',
  'ConditionalRequestConflict',
  'InternalError',
  'OperationAborted',
  'RequestTimeout',
  'ServiceUnavailable',
  'SlowDown',
  'TimeoutError',
  'TooManyRequests',
  'XAmzContentSHA256Mismatch',
]);
const lostConnections = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
]);

/** How servers call it that a bucket has no locks, if they say so. */
export const noObjectLock = 'ObjectLockConfigurationNotFoundError';

/** [state, hint] by the name or code of the failure. */
const plain: Readonly<Record<string, readonly [string, string]>> = {
  AccessDenied: ['access is denied', 'Compare the policy of these credentials with those in deploy/s3.'],
  AuthorizationHeaderMalformed: wrongRegion(),
  CERT_HAS_EXPIRED: untrusted('its certificate has expired'),
  CredentialsProviderError: [
    'there are no credentials for it',
    'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with "?profile=NAME", or run "aws sso login".',
  ],
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted('its certificate is signed by nobody who is trusted'),
  ENOTFOUND: ['no host has this name', 'Check the endpoint, the bucket and the region in the URL.'],
  EntityTooLarge: ['the object is larger than the server takes', 'Choose another with "?part-size=".'],
  ERR_TLS_CERT_ALTNAME_INVALID: untrusted('its certificate is for another host'),
  ExpiredToken: ['the credentials have expired', 'Get new ones, for example with "aws sso login".'],
  IllegalLocationConstraintException: wrongRegion(),
  InvalidAccessKeyId: wrongKey('the server does not know the access key'),
  InvalidTokenId: [
    'the session token is not valid',
    'Get new credentials, for example with "aws sso login".',
  ],
  InvalidToken: ['the session token is not valid', 'Get new credentials, for example with "aws sso login".'],
  NoSuchBucket: ['there is no such bucket', 'Make it first; deploy/s3 has the settings that it needs.'],
  [noObjectLock]: [
    'the bucket has no Object Lock',
    'It can be had only from the start: "aws s3api create-bucket --object-lock-enabled-for-bucket …".',
  ],
  PermanentRedirect: wrongRegion(),
  QuotaExceeded: [
    'the quota is used up',
    'Make room: have the keeper run "salvage prune", or ask for a larger quota.',
  ],
  RequestTimeTooSkewed: [
    "this machine's clock and that of the server differ too much",
    'Set the clock: "timedatectl set-ntp true".',
  ],
  SELF_SIGNED_CERT_IN_CHAIN: untrusted('its certificate is signed by nobody who is trusted'),
  SignatureDoesNotMatch: wrongKey('the secret key does not belong to the access key'),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted('its certificate is signed by nobody who is trusted'),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted('its certificate is signed by nobody who is trusted'),
};

/** What stands for "there is none". The bucket's absence is another thing. */
export function isAbsence(error: unknown): boolean {
  const { name, $metadata } = error as Failure;
  return name !== 'NoSuchBucket' && $metadata?.httpStatusCode === 404;
}

/** The credentials lack a right. */
export function isRefused(error: unknown): boolean {
  return failureName(error) === 'AccessDenied';
}

/** There is an object of the name, and the request was to create one. */
export function isTaken(error: unknown): boolean {
  return failureName(error) === 'PreconditionFailed';
}

/** The name by which the server calls the failure. */
export function failureName(error: unknown): string {
  const { name, code, $metadata } = error as Failure;
  // Answers to HEAD have no body that could say more.
  if ($metadata?.httpStatusCode === 403 && /^(?:403|Unknown|UnknownError|Forbidden)$/.test(name))
    return 'AccessDenied';
  return code !== undefined && !Object.hasOwn(plain, name) ? code : name;
}

/**
 * The error of a request as a person is to see it; transient ones are marked (transient-error.ts).
 * @param doing such as `read "packs/…"`
 */
export function describeFailure(doing: string, description: string, error: unknown): SalvageError {
  const { message, $metadata } = error as Failure;
  const name = failureName(error);
  const known = Object.hasOwn(plain, name) ? plain[name] : undefined;
  const status = $metadata?.httpStatusCode;
  // The server's words are untrusted and may be long; the terminal escapes them.
  const said = isGarbled(status)
    ? 'the reply was cut short, or is not one of an S3 server'
    : (message === '' || message === 'UnknownError' ? name : message).slice(0, 300);
  const state = known ? `${known[0]} (${name})` : status === undefined ? said : `${said} (${status} ${name})`;
  return new SalvageError('failed', `Cannot ${doing} in "${description}": ${state}`, {
    ...(known && { hint: known[1] }),
    details: { failure: name, ...(status !== undefined && { status }) },
    cause: isTransient(name, status, message) ? markTransient(said, error) : error,
  });
}

function isTransient(name: string, status: number | undefined, message: string): boolean {
  if (patience.has(name) || lostConnections.has(name) || /^Throttl|Throttled/.test(name)) return true;
  if (status !== undefined) return isGarbled(status) || status === 429 || (status >= 500 && status !== 501);
  return /socket hang up|premature close|aborted/i.test(message);
}

/** All went well, and yet there is an error: in reading the reply. */
function isGarbled(status: number | undefined): boolean {
  return status !== undefined && status >= 200 && status < 300;
}

function markTransient(said: string, error: unknown): TransientError {
  const headers = (error as Failure).$response?.headers ?? {};
  const seconds = Number(/^\d{1,4}$/.exec(headers['retry-after'] ?? '')?.[0] ?? NaN);
  return new TransientError(said, { cause: error, ...(seconds > 0 && { retryAfterMs: seconds * 1000 }) });
}

function wrongKey(state: string): readonly [string, string] {
  return [state, 'Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the profile.'];
}

function wrongRegion(): readonly [string, string] {
  return ['the bucket is in another region', 'Name its region: "?region=REGION", or AWS_REGION.'];
}

function untrusted(state: string): readonly [string, string] {
  return [state, 'Name the file of the authority that signed it: "?ca=/path/ca.pem", or AWS_CA_BUNDLE.'];
}
