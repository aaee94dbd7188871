import { equalBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { matchesPatternList } from './pattern-list.ts';
import { fingerprint, parsePublicKeyLine, type PublicKey } from './public-key.ts';

/** One line of an allowed signers file (ssh-keygen(1), ALLOWED SIGNERS). */
export interface AllowedSigner {
  /** Pattern list of the names that the key may sign for. */
  readonly principals: string;
  readonly key: PublicKey;
  /** The key is a certificate authority: nothing that it signs itself is accepted, and certificates are not supported. */
  readonly certAuthority: boolean;
  /** Pattern list; undefined allows every namespace. */
  readonly namespaces: string | undefined;
  readonly validAfter: Date | undefined;
  readonly validBefore: Date | undefined;
  /** From 1. */
  readonly line: number;
}

/** Reads an allowed signers file. Throws bad-key with the line number for a line that ssh-keygen would not read. */
export function parseAllowedSigners(text: string): AllowedSigner[] {
  const signers: AllowedSigner[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const signer = parseLine(line.trim(), index + 1);
    if (signer) signers.push(signer);
  }
  return signers;
}

function parseLine(text: string, line: number): AllowedSigner | undefined {
  if (text === '' || text.startsWith('#')) return undefined;
  const fail = (state: string, cause?: unknown): SalvageError =>
    new SalvageError('bad-key', `Cannot read line ${line} of the allowed signers: ${state}`, { cause });
  const match = /^(?:"([^"]*)"|([^\s"]+))[ \t]+(.+)$/.exec(text);
  if (!match) throw fail('it is not "PRINCIPALS [OPTIONS] TYPE BASE64"');
  const principals = match[1] ?? match[2]!;
  let parsed: ReturnType<typeof parsePublicKeyLine>;
  try {
    parsed = parsePublicKeyLine(match[3]!);
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    throw fail('its key is malformed', error);
  }
  if (!parsed) throw fail('it has no key');
  const options = parseOptions(parsed.options, fail);
  return { principals, key: parsed.key, line, ...options };
}

type Options = Pick<AllowedSigner, 'certAuthority' | 'namespaces' | 'validAfter' | 'validBefore'>;

function parseOptions(text: string, fail: (state: string) => SalvageError): Options {
  const values = new Map<string, string>();
  let rest = text;
  while (rest !== '') {
    const match = /^([a-z-]+)(?:="((?:[^"\\]|\\.)*)")?(?:,(?=.)|$)/i.exec(rest);
    const name = match?.[1]!.toLowerCase();
    if (!match || name === undefined) throw fail('its options are malformed');
    const value = match[2];
    if (name === 'cert-authority' ? value !== undefined : value === undefined || !valueOptions.has(name))
      throw fail(`its option "${name}" is unknown or has a wrong form`);
    if (values.has(name) && name !== 'cert-authority') throw fail(`it has two options "${name}"`);
    values.set(name, (value ?? '').replaceAll('\\"', '"'));
    rest = rest.slice(match[0].length);
  }
  const time = (name: string): Date | undefined => {
    const value = values.get(name);
    if (value === undefined) return undefined;
    const parsed = parseSignerTime(value);
    if (!parsed) throw fail(`its option "${name}" is not a time of the form YYYYMMDD[HHMM[SS]][Z]`);
    return parsed;
  };
  const [validAfter, validBefore] = [time('valid-after'), time('valid-before')];
  if (validAfter && validBefore && validBefore <= validAfter)
    throw fail('its "valid-before" is not later than its "valid-after"');
  const namespaces = values.get('namespaces');
  return { certAuthority: values.has('cert-authority'), namespaces, validAfter, validBefore };
}

const valueOptions: ReadonlySet<string> = new Set(['namespaces', 'valid-after', 'valid-before']);

/** `YYYYMMDD[HHMM[SS]]` in local time, or in UTC with a `Z` or `UTC` at its end; undefined if it is neither. */
export function parseSignerTime(text: string): Date | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z|UTC)?$/i.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (year < 1970 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60)
    return undefined;
  if (day > new Date(Date.UTC(year, month, 0)).getUTCDate()) return undefined;
  return match[7] === undefined
    ? new Date(year, month - 1, day, hour, minute, second)
    : new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

/** Who is said to have signed what, and when this is asked. */
export interface SignatureClaim {
  readonly publicKey: PublicKey;
  readonly principal: string;
  readonly namespace: string;
  readonly time: Date;
}

/**
 * The line that lets the key sign for this principal in this namespace at this time. Throws bad-signature if there is
 * none, and says what stood in the way. Whether the signature is genuine is for `verifySshsig` to say.
 */
export function authorizeSigner(signers: readonly AllowedSigner[], claim: SignatureClaim): AllowedSigner {
  const { publicKey, principal, namespace, time } = claim;
  const reasons: string[] = [];
  for (const signer of signers) {
    if (!equalBytes(signer.key.blob, publicKey.blob)) continue;
    const reason = refusal(signer);
    if (reason === undefined) return signer;
    reasons.push(`line ${signer.line}: ${reason}`);
  }
  const known = signers.some((signer) => matchesPatternList(principal, signer.principals));
  const state =
    reasons.length > 0
      ? reasons.join('; ')
      : known
        ? `the key ${fingerprint(publicKey)} is not among those of "${principal}"`
        : `the allowed signers do not list "${principal}"`;
  throw new SalvageError('bad-signature', `Cannot accept the signature as one by "${principal}": ${state}`, {
    hint: 'Check the principal and the allowed signers file; "ssh-keygen -Y find-principals" shows who the key belongs to.',
    details: { principal, namespace, fingerprint: fingerprint(publicKey) },
  });

  function refusal(signer: AllowedSigner): string | undefined {
    if (signer.certAuthority) return 'the key is a certificate authority, and certificates are not supported';
    if (!matchesPatternList(principal, signer.principals))
      return `the key belongs to another principal, ${JSON.stringify(signer.principals)}`;
    if (signer.namespaces !== undefined && !matchesPatternList(namespace, signer.namespaces))
      return `the key may not sign in the namespace "${namespace}"`;
    // OpenSSH counts whole seconds.
    const second = Math.floor(time.getTime() / 1000) * 1000;
    if (signer.validAfter && second < signer.validAfter.getTime())
      return `the key is not valid before ${signer.validAfter.toISOString()}`;
    if (signer.validBefore && second > signer.validBefore.getTime())
      return `the key is not valid after ${signer.validBefore.toISOString()}`;
    return undefined;
  }
}
