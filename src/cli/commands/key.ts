import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { ArmorEncoder } from '../../age/armor.ts';
import { encryptStream } from '../../age/encrypt-stream.ts';
import { parseIdentityFile } from '../../age/identity-file.ts';
import { HybridRecipient } from '../../age/hybrid.ts';
import { ScryptRecipient } from '../../age/scrypt.ts';
import { X25519Recipient } from '../../age/x25519.ts';
import { asBuffer, concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { generatePassphrase } from '../../keys/generate-passphrase.ts';
import { readSecretFile, writeNewKeyFile } from '../../keys/key-file.ts';
import { keyPage, readKeyPage } from '../../keys/shares/key-page.ts';
import { renderHtmlPage, renderTextPage, type PaperPage } from '../../keys/shares/paper-page.ts';
import {
  readSecretMaterial,
  writeSecretMaterial,
  type SecretMaterial,
} from '../../keys/shares/secret-material.ts';
import { findShares, sharePage } from '../../keys/shares/share-page.ts';
import { joinShares, setName, splitIntoShares } from '../../keys/shares/share.ts';
import type { CliContext } from '../context.ts';
import { addPassphraseFlags, passphraseFromFlags, type PassphraseFlags } from '../key-flags.ts';
import { systemError } from '../system-error.ts';

export const examples: readonly string[] = [
  'salvage key split -k 2 -n 3 -i identity.txt -o shares',
  'salvage key join shares/share-1.txt shares/share-3.txt -o identity-again.txt',
  'salvage key paper --encrypt -i identity.txt -o key.html',
];

interface Options extends PassphraseFlags {
  readonly needed?: number;
  readonly shares?: number;
  readonly identity?: string;
  readonly output?: string;
  readonly name?: string;
  readonly encrypt?: boolean;
  readonly read?: boolean;
}

type Action = (files: readonly string[], options: Options, context: CliContext) => Promise<void>;

const actions: Readonly<Record<string, Action>> = { split, join: joinFiles, paper };
const maxFileBytes = 1024 * 1024;

export function register(program: Command, context: CliContext): void {
  const count = (text: string): number => (/^\d{1,3}$/.test(text) ? Number(text) : Number.NaN);
  program
    .argument(
      '<action>',
      'split: into shares on paper; join: shares into the key again; paper: the whole key on one page',
    )
    .argument(
      '[file...]',
      'with join and paper --read: what was typed or scanned; none or "-" is standard input',
    )
    .addOption(new Option('-k, --needed <number>', 'split: so many shares open it').argParser(count))
    .addOption(new Option('-n, --shares <number>', 'split: into so many shares').argParser(count))
    .option('-i, --identity <file>', 'split, paper: the private key')
    .option(
      '-o, --output <path>',
      'where to write: split: a new folder; join: an identity file; paper: .html or .txt',
    )
    .option('--name <text>', 'what the key is called on the page (default: the name of its file)')
    .option('--encrypt', 'paper: encrypt the key with a passphrase that you are asked for')
    .option('--read', 'paper: make an identity file of the words that were typed from a page');
  addPassphraseFlags(program);
  program.action(async (action: string, files: string[], options: Options) => {
    const run = Object.hasOwn(actions, action) ? actions[action] : undefined;
    if (!run)
      throw new SalvageError('usage', `Cannot do "${action}" with a key: it is split, join or paper`, {
        hint: 'salvage key --help shows how they are used',
      });
    await run(files, options, context);
  });
}

async function split(files: readonly string[], options: Options, context: CliContext): Promise<void> {
  const { needed, shares: count } = options;
  if (needed === undefined || count === undefined)
    throw usage('split the key: say how many shares there are to be, and how many open it', '-k 2 -n 3');
  refuseFiles(files, 'split');
  const { path, secret } = readIdentity(options);
  const folder = requireOutput(options, 'split the key: no folder for the pages is given', '-o shares');
  const made = splitIntoShares(secret, needed, count);
  const facts = {
    count,
    name: options.name ?? path,
    recipient: await recipientOf(secret, path),
    date: today(context),
  };
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    throw systemError(`make the folder "${folder}"`, cause);
  }
  for (const share of made) {
    const page = sharePage(share, facts);
    writeNewKeyFile(join(folder, `share-${share.index}.html`), renderHtmlPage(page));
    writeNewKeyFile(join(folder, `share-${share.index}.txt`), renderTextPage(page));
  }
  const { terminal } = context;
  terminal.info(
    `Wrote ${count} shares to "${folder}" (set ${setName(made[0]!)}); any ${needed} of them open the key`,
  );
  terminal.hint(
    'Print the .html pages, try "salvage key join" with what you type or scan from them, give them to different people, and delete the folder.',
  );
}

async function joinFiles(files: readonly string[], options: Options, context: CliContext): Promise<void> {
  const shares = readTexts(files, 'the shares', context).flatMap(({ name, text }) => {
    const found = namingFile(name, () => findShares(text));
    if (found.length === 0)
      throw new SalvageError(
        'bad-key',
        `Cannot find a share in ${name}: neither its text nor its words are there`,
      );
    return found;
  });
  const identity = writeSecretMaterial(joinShares(shares));
  await writeIdentity(identity, options, context);
}

async function paper(files: readonly string[], options: Options, context: CliContext): Promise<void> {
  if (options.read) {
    const texts = readTexts(files, 'the words', context);
    const whole = texts.map(({ text }) => text).join('\n');
    await writeIdentity(readKeyPage(whole), options, context);
    return;
  }
  refuseFiles(files, 'paper');
  const { path, secret } = readIdentity(options);
  const output = requireOutput(options, 'put the key on paper: no file for the page is given', '-o key.html');
  const facts = {
    name: options.name ?? path,
    recipient: await recipientOf(secret, path),
    date: today(context),
  };
  const page = options.encrypt
    ? await encryptedPage(secret, facts, options, context)
    : keyPage(secret, asText(secret, path), { ...facts, isEncrypted: false });
  writeNewKeyFile(output, renderFor(output, page));
  context.terminal.info(`Wrote the key to "${output}"`);
  context.terminal.hint('Print it, try to read it back, and delete the file.');
}

async function encryptedPage(
  secret: SecretMaterial,
  facts: { readonly name: string; readonly recipient: string | undefined; readonly date: string },
  options: Options,
  context: CliContext,
): Promise<PaperPage> {
  const { terminal, signal } = context;
  const given = passphraseFromFlags(options, context);
  const passphrase = given
    ? await given()
    : await terminal.requestNewPassphrase('Enter passphrase for the page', generatePassphrase, signal);
  const pieces = encryptStream(once(writeSecretMaterial(secret)), [new ScryptRecipient(passphrase)]);
  const encrypted = concatBytes(await Array.fromAsync(pieces));
  const armor = new ArmorEncoder();
  const text = asBuffer(concatBytes([...armor.push(encrypted), ...armor.finish()])).toString('latin1');
  return keyPage(readSecretMaterial(encrypted, facts.name), text, { ...facts, isEncrypted: true });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** An identity file as ASCII: what a code can hold and age can read. */
function asText(secret: SecretMaterial, path: string): string {
  const text = asBuffer(writeSecretMaterial(secret)).toString('latin1');
  if (/^[\t\n\r -~]*$/.test(text)) return text;
  throw new SalvageError('bad-key', `Cannot put "${path}" on paper: it is not text`, {
    hint: 'Armor it first: salvage decrypt it, then salvage encrypt -a -p.',
  });
}

function renderFor(path: string, page: PaperPage): string {
  return path.endsWith('.txt') ? renderTextPage(page) : renderHtmlPage(page);
}

function readIdentity({ identity }: Options): { readonly path: string; readonly secret: SecretMaterial } {
  if (identity === undefined) throw usage('find the key: no identity is given', '-i identity.txt');
  return { path: identity, secret: readSecretMaterial(readSecretFile(identity, maxFileBytes), identity) };
}

/** The public half, shortened; nothing is asked for it. */
async function recipientOf(secret: SecretMaterial, name: string): Promise<string | undefined> {
  if (secret.kind === 3) return undefined;
  const requestPassphrase = (): Promise<string> => Promise.reject(new Error('never asked'));
  const [identity] = parseIdentityFile(writeSecretMaterial(secret), { name, requestPassphrase });
  const [recipient] = (await identity!.recipients?.()) ?? [];
  if (!(recipient instanceof X25519Recipient || recipient instanceof HybridRecipient)) return undefined;
  const text = recipient.toString();
  return text.length > 70 ? `${text.slice(0, 60)}…` : text;
}

interface TypedText {
  readonly name: string;
  readonly text: string;
}

function readTexts(files: readonly string[], what: string, context: CliContext): TypedText[] {
  return (files.length === 0 ? ['-'] : files).map((path) => {
    if (path === '-') {
      context.stdin.claim(what);
      if (context.stdin.isTerminal)
        context.terminal.notice(`Type ${what}, with an empty line after each; end with Ctrl-D`);
    }
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path === '-' ? context.stdin.fd : path);
    } catch (cause) {
      throw systemError(`read "${path}"`, cause);
    }
    if (bytes.length > maxFileBytes)
      throw new SalvageError('bad-key', `Cannot read "${path}": it is longer than ${maxFileBytes} bytes`);
    return { name: path === '-' ? 'standard input' : `"${path}"`, text: asBuffer(bytes).toString('utf8') };
  });
}

function namingFile<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    throw new SalvageError(error.code, `${error.message} (${name})`, { hint: error.hint ?? '' });
  }
}

async function writeIdentity(identity: Uint8Array, { output }: Options, context: CliContext): Promise<void> {
  if (output === undefined || output === '-') return await context.stdout.write(identity);
  writeNewKeyFile(output, identity);
  context.terminal.info(`Wrote the private key to "${output}"`);
}

function requireOutput({ output }: Options, state: string, example: string): string {
  if (output === undefined || output === '-') throw usage(state, example);
  return output;
}

function refuseFiles([file]: readonly string[], action: string): void {
  if (file === undefined) return;
  throw usage(`${action} "${file}": the key is named with -i`, `-i ${file}`);
}

function usage(state: string, example: string): SalvageError {
  return new SalvageError('usage', `Cannot ${state}`, { hint: `for example: ${example}` });
}

function today({ clock }: CliContext): string {
  return clock.now().toISOString().slice(0, 10);
}
