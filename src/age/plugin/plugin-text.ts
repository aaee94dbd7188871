import { SalvageError } from '../../errors/salvage-error.ts';
import { decodeBech32, encodeBech32 } from '../bech32.ts';

const recipientPrefix = 'age1';
const identityPrefix = 'age-plugin-';

/** Recipient or identity of a plugin, as text: `age1name1…`, `AGE-PLUGIN-NAME-1…`. */
export interface PluginText {
  /** The plugin's name in lower case. */
  readonly plugin: string;
  readonly text: string;
  /** What the text holds; only the plugin understands it. */
  readonly data: Uint8Array;
}

/** @throws bad-key, without repeating the text */
export function parsePluginRecipient(text: string): PluginText {
  const decoded = decodeBech32(text);
  const plugin = decoded?.prefix.slice(recipientPrefix.length) ?? '';
  if (!decoded?.prefix.startsWith(recipientPrefix) || text !== text.toLowerCase() || !isPluginName(plugin))
    throw new SalvageError('bad-key', 'Cannot read the recipient: it is not a valid age1name1… key', {
      hint: 'Copy it again, whole: a mistyped or shortened key does not pass its checksum.',
    });
  return { plugin, text, data: decoded.bytes };
}

/** @throws bad-key, without repeating the text */
export function parsePluginIdentity(text: string): PluginText {
  const decoded = decodeBech32(text);
  const plugin = decoded?.prefix.slice(identityPrefix.length, -1) ?? '';
  if (
    !decoded?.prefix.startsWith(identityPrefix) ||
    !decoded.prefix.endsWith('-') ||
    text !== text.toUpperCase() ||
    !isPluginName(plugin)
  )
    throw new SalvageError(
      'bad-key',
      'Cannot read the identity: it is not a valid AGE-PLUGIN-NAME-1… identity',
      { hint: 'Copy it again, whole: a mistyped or shortened one does not pass its checksum.' },
    );
  return { plugin, text, data: decoded.bytes };
}

/** `AGE-PLUGIN-NAME-1…`. Without data it is what age's -j NAME stands for. @throws usage if no plugin can have that name */
export function encodePluginIdentity(plugin: string, data: Uint8Array = new Uint8Array(0)): string {
  const name = plugin.toLowerCase();
  if (!isPluginName(name))
    throw new SalvageError(
      'usage',
      `Cannot use the plugin "${plugin}": a plugin's name has letters, digits and "+-._" only`,
    );
  return encodeBech32(`${identityPrefix}${name}-`, data).toUpperCase();
}

/** The name becomes part of a program's name: nothing that could leave a folder (GHSA-32gq-x56h-299c). */
function isPluginName(name: string): boolean {
  return /^[a-z0-9+._-]{1,64}$/.test(name);
}
