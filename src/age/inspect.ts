import { BinaryInput } from './binary-input.ts';
import { HeaderParser } from './header.ts';
import type { Header } from './header.ts';
import { payloadLayout } from './payload.ts';

/** What an age file shows without a key: the fields, names and order of `age-inspect --json`. Sizes in bytes. */
export interface AgeInspection {
  readonly version: string;
  /** Whether a quantum computer could open it: 'unknown' if that hangs on a stanza type that is not known. */
  readonly postquantum: 'yes' | 'no' | 'unknown';
  readonly armor: boolean;
  readonly stanza_types: readonly string[];
  readonly sizes: {
    readonly header: number;
    /** What the armor adds, white space around it included. */
    readonly armor: number;
    readonly overhead: number;
    readonly min_payload: number;
    readonly max_payload: number;
    readonly min_padding: number;
    readonly max_padding: number;
  };
}

const classicTypes = ['X25519', 'ssh-rsa', 'ssh-ed25519', 'p256tag', 'piv-p256'];
const postQuantumTypes = ['mlkem768x25519', 'mlkem768p256tag', 'scrypt'];

/**
 * Reads an age file as far as its facts demand: a binary one of which the size is known no further than its header.
 * @throws age-header, age-armor; age-payload if no whole payload has that size
 */
export async function inspectAgeFile(
  source: AsyncIterable<Uint8Array>,
  sizeBytes?: number,
): Promise<AgeInspection> {
  const input = new BinaryInput();
  const parser = new HeaderParser();
  let read = 0;
  let binary = 0;
  const take = (parts: Uint8Array[]): void => {
    for (const part of parts) {
      binary += part.length;
      if (!parser.header) parser.push(part);
    }
  };
  for await (const piece of source) {
    read += piece.length;
    take(input.push(piece));
    if (parser.header && input.isArmored === false && sizeBytes !== undefined) {
      binary = read = sizeBytes;
      break;
    }
  }
  take(input.finish());
  const header = parser.header ?? parser.finish();
  const stored = binary - header.bytes.length;
  const payload = payloadLayout(stored).plaintextBytes;
  return {
    version: 'age-encryption.org/v1',
    postquantum: postQuantumSafety(header),
    armor: input.isArmored === true,
    stanza_types: header.stanzas.map(({ type }) => type),
    sizes: {
      header: header.bytes.length,
      armor: read - binary,
      overhead: stored - payload,
      min_payload: payload,
      max_payload: payload,
      min_padding: 0,
      max_padding: 0,
    },
  };
}

/** One classic recipient is enough to lose it. */
function postQuantumSafety({ stanzas }: Header): 'yes' | 'no' | 'unknown' {
  if (stanzas.some(({ type }) => classicTypes.includes(type))) return 'no';
  return stanzas.every(({ type }) => postQuantumTypes.includes(type)) ? 'yes' : 'unknown';
}
