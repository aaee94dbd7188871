import { SalvageError } from '../../errors/salvage-error.ts';

/** Which digest goes with each object for the server to check, beside the one that the request is signed for. */
export type ChecksumKind = 'sha256' | 'md5' | 'none';

/** Where in which bucket of which server, as a URL says it. */
export interface S3Place {
  readonly bucket: string;
  /** '' or ending in '/'. */
  readonly prefix: string;
  /** Undefined: as the environment or the profile says, at last AWS. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  /** Undefined: with an endpoint of one's own yes, at AWS no. */
  readonly pathStyle: boolean | undefined;
  readonly profile: string | undefined;
  /** A file of certificates in PEM that are trusted instead of the system's. */
  readonly caFile: string | undefined;
  readonly checksums: ChecksumKind;
  /** Of an upload in several parts. */
  readonly partBytes: number;
}

const mebibyte = 1024 * 1024;
const usualPartMebibytes = 16;
const known = ['endpoint', 'region', 'path-style', 'profile', 'ca', 'checksums', 'part-size'] as const;
const checksumKinds: readonly string[] = ['sha256', 'md5', 'none'] satisfies ChecksumKind[];

/**
 * Reads `s3://BUCKET/PREFIX?endpoint=…&region=…&path-style=…&profile=…&ca=…&checksums=…&part-size=…`.
 * @throws usage for anything else, and for credentials in the URL, which it does not repeat
 */
export function parseS3Url(url: string): S3Place {
  const [, authority = '', path = '', query = ''] =
    /^s3:\/\/([^/?#]*)\/?([^?#]*)(?:\?([^#]*))?$/i.exec(url) ?? [];
  if (authority.includes('@') || /[?&](?:access|secret|password|token|key)/i.test(url))
    throw refuse(
      'it has credentials in it',
      'Take the password out of the URL and change it: URLs end up in logs and process lists. Give keys as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a profile.',
    );
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/i.test(authority))
    throw refuse(
      authority === '' ? 'it names no bucket' : `"${authority}" is not the name of a bucket`,
      form,
    );
  const parts = path.split('/').filter((part) => part !== '');
  if (path.length > 512 || !parts.every((part) => /^[A-Za-z0-9][A-Za-z0-9._=-]*$/.test(part)))
    throw refuse(
      `"${path.slice(0, 100)}" cannot begin the names of objects`,
      'Use letters, digits, ".", "_", "=", "-" and "/".',
    );
  const settings = new URLSearchParams(query);
  for (const name of settings.keys())
    if (!(known as readonly string[]).includes(name) || settings.getAll(name).length > 1)
      throw refuse(`it cannot have the setting "${name}" here`, `Known are ${known.join(', ')}, each once.`);
  const get = (name: (typeof known)[number]): string | undefined => settings.get(name) ?? undefined;
  const pathStyle = get('path-style');
  if (pathStyle !== undefined && pathStyle !== 'true' && pathStyle !== 'false')
    throw refuse('path-style is neither true nor false', form);
  const checksums = get('checksums') ?? 'sha256';
  if (!checksumKinds.includes(checksums)) throw refuse('checksums is none of sha256, md5 and none', form);
  return {
    bucket: authority,
    prefix: parts.length === 0 ? '' : `${parts.join('/')}/`,
    endpoint: checkEndpoint(get('endpoint')),
    region: get('region'),
    pathStyle: pathStyle === undefined ? undefined : pathStyle === 'true',
    profile: get('profile'),
    caFile: get('ca'),
    checksums: checksums as ChecksumKind,
    partBytes: parsePartSize(get('part-size')),
  };
}

const form = 'The form is s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION.';

function checkEndpoint(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '')
    throw refuse('its endpoint is not of the form https://HOST:PORT', form);
  return text;
}

function parsePartSize(text: string | undefined): number {
  const mebibytes = text === undefined ? usualPartMebibytes : Number(/^(\d{1,4})M$/.exec(text)?.[1]);
  // The limits of the protocol, and of what is held in memory.
  if (!(mebibytes >= 5 && mebibytes <= 1024)) throw refuse('part-size is not from 5M to 1024M', form);
  return mebibytes * mebibyte;
}

function refuse(state: string, hint: string): SalvageError {
  return new SalvageError('usage', `Cannot use this s3:// URL: ${state}`, { hint });
}
