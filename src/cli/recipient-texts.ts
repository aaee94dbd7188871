import { readFileSync } from 'node:fs';
import { parseRecipient } from '../age/parse-recipient.ts';
import { parseLine, readTextLines } from '../age/text-lines.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { agePlugins } from './age-plugins.ts';
import type { CliContext } from './context.ts';
import { passphraseRequester, type RecipientFlags } from './key-flags.ts';
import { systemError } from './system-error.ts';

/**
 * The recipients that -r and -R name, as text, each once, for a configuration that is to keep them. Keys that cannot
 * encrypt are passed over with a warning where they stand in a file.
 * @throws bad-key if one cannot be used, failed if a file cannot be read
 */
export function readRecipientTexts(flags: RecipientFlags, context: CliContext): string[] {
  const texts = new Set(flags.recipient ?? []);
  const plugins = agePlugins(passphraseRequester({}, context), context);
  for (const path of flags.recipientsFile ?? []) {
    const what = path === '-' ? 'recipients on standard input' : `recipients file "${path}"`;
    let found = 0;
    for (const line of readTextLines(readFile(path, context), what)) {
      if (parseLine(line, what, (text) => parseRecipient(text, plugins))) {
        texts.add(line.text);
        found++;
      } else
        context.terminal.warning(
          `line ${line.number} of the ${what} is a key that cannot encrypt; it is passed over`,
        );
    }
    if (found === 0)
      throw new SalvageError('bad-key', `Cannot encrypt to the ${what}: it holds no recipient`, {
        hint: 'Put one public key to a line: age1…, ssh-ed25519 … or ssh-rsa ….',
      });
  }
  return [...texts];
}

function readFile(path: string, context: CliContext): Uint8Array {
  if (path === '-') context.stdin.claim('recipients');
  try {
    return readFileSync(path === '-' ? context.stdin.fd : path);
  } catch (error) {
    throw systemError(`read the recipients file "${path}"`, error);
  }
}
