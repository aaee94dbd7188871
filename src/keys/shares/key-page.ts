import { createHash } from 'node:crypto';
import { asBuffer, concatBytes, equalBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { PaperPage } from './paper-page.ts';
import {
  packSecretMaterial,
  unpackSecretMaterial,
  writeSecretMaterial,
  type SecretMaterial,
} from './secret-material.ts';
import { decodeWordLines, encodeWordLines, looksLikeWords } from './word-lines.ts';

const version = 1;
const checkBytes = 4;

export interface KeyPageFacts {
  readonly name: string;
  readonly recipient: string | undefined;
  readonly isEncrypted: boolean;
  readonly date: string;
}

/**
 * A whole identity on paper. The code and the text are an identity file that every age reads; `text` is it, as ASCII.
 */
export function keyPage(secret: SecretMaterial, text: string, facts: KeyPageFacts): PaperPage {
  const { name, recipient, isEncrypted, date } = facts;
  const packed = concatBytes([Uint8Array.of(version), packSecretMaterial(secret)]);
  return {
    title: isEncrypted ? 'A private key, encrypted with a passphrase' : 'A private key',
    facts: [
      ['Key', name],
      ...(recipient === undefined ? [] : [['Public key', recipient] as const]),
      ['Made', date],
    ],
    advice: [
      isEncrypted
        ? 'Together with its passphrase this page opens backups. Keep the passphrase elsewhere.'
        : 'Whoever has this page can open the backups. Lock it away, and show it to nobody.',
      'To use it: scan the code into a file identity.txt, or type the text; age and salvage take it as it is: -i identity.txt. The words are for typing without mistakes: salvage key paper --read FILE -o identity.txt.',
    ],
    code: text,
    textLines: text.trimEnd().split('\n'),
    wordLines: encodeWordLines(concatBytes([packed, checkOf(packed)])),
  };
}

/**
 * The identity file of the words in a text: a page, or what was typed from it.
 * @throws bad-key if a line is mistyped, or none is there
 */
export function readKeyPage(text: string): Uint8Array {
  const lines = text.split(/\r?\n/).filter(looksLikeWords);
  if (lines.length === 0)
    throw new SalvageError('bad-key', 'Cannot read the key: there are no words of a paper key', {
      hint: 'Type the lines under "Words", or use the text as an identity file.',
    });
  const bytes = decodeWordLines(lines);
  const whole = [bytes, bytes.subarray(0, -1)].find((candidate) =>
    equalBytes(checkOf(candidate.subarray(0, -checkBytes)), candidate.subarray(-checkBytes)),
  );
  if (!whole || whole[0] !== version)
    throw new SalvageError(
      'bad-key',
      'Cannot read the key: lines are missing, or they are of something else',
      {
        hint: 'Compare their number with the paper.',
      },
    );
  return writeSecretMaterial(unpackSecretMaterial(asBuffer(whole.subarray(1, -checkBytes))));
}

function checkOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest().subarray(0, checkBytes);
}
