import { asBuffer, utf8Bytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { encodeBase64 } from '../base64.ts';
import { encodeStanza } from '../header.ts';
import type { Identity, Recipient } from '../recipient.ts';
import type { Stanza } from '../stanza.ts';
import { StanzaReader } from './stanza-reader.ts';

/** The user, as a plugin reaches him: through the age client. Undefined or false where there is no answer. */
export interface PluginClient {
  message(text: string): Promise<void>;
  confirm(text: string, yes: string, no: string): Promise<boolean>;
  requestSecret(prompt: string): Promise<string | undefined>;
}

/** What makes a plugin: its recipients and identities. The protocol is this file's. */
export interface Plugin {
  /** @throws SalvageError if the text is no recipient of this plugin */
  recipient(text: string): Recipient;
  /** @throws SalvageError if the text is no identity of this plugin */
  identity(text: string, client: PluginClient): Identity;
}

export interface PluginStreams {
  readonly input: AsyncIterable<Uint8Array>;
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

const empty = new Uint8Array(0);
/** What a client may have served in one run. */
const limits = { keys: 4096, stanzas: 1_000_000, bytes: 256 * 1024 * 1024 } as const;

/**
 * Serves one run of a state machine, `recipient-v1` or `identity-v1` (C2SP age-plugin.md), and returns when it is over.
 * Errors of keys and files go to the client. @throws bad-key if the client breaks the protocol, usage for another machine
 */
export async function servePlugin(
  stateMachine: string,
  plugin: Plugin,
  streams: PluginStreams,
): Promise<void> {
  const client = new Client(streams);
  if (stateMachine === 'identity-v1') await unwrap(plugin, client);
  else if (stateMachine === 'recipient-v1') await wrap(plugin, client);
  else
    throw new SalvageError('usage', `Cannot serve the state machine "${stateMachine}": it is not known here`);
}

async function wrap(plugin: Plugin, client: Client): Promise<void> {
  const recipients: string[] = [];
  const identities: string[] = [];
  const fileKeys: Uint8Array[] = [];
  for await (const { type, args, body } of client.commands()) {
    const list = type === 'add-recipient' ? recipients : type === 'add-identity' ? identities : undefined;
    if (list && args[0] !== undefined && list.length < limits.keys) list.push(args[0]);
    else if (type === 'wrap-file-key' && fileKeys.length < limits.keys) fileKeys.push(body);
  }
  const wrapping: Recipient[] = [];
  let failed = false;
  const attempt = async (kind: string, index: number, work: () => Promise<void>): Promise<void> => {
    failed = !(await client.reportingErrors([kind, String(index)], work)) || failed;
  };
  for (const [index, text] of recipients.entries())
    await attempt('recipient', index, async () => {
      wrapping.push(plugin.recipient(text));
    });
  for (const [index, text] of identities.entries())
    await attempt('identity', index, async () => {
      const own = await plugin.identity(text, client).recipients?.();
      wrapping.push(...(own ?? []));
    });
  const stanzas: { readonly file: number; readonly stanza: Stanza }[] = [];
  const labels = new Set<string>();
  if (!failed)
    await attempt('internal', 0, async () => {
      for (const recipient of wrapping)
        for (const [file, fileKey] of fileKeys.entries()) {
          const wrapped = await recipient.wrapFileKey(fileKey);
          for (const label of wrapped.labels) labels.add(label);
          for (const stanza of wrapped.stanzas) stanzas.push({ file, stanza });
        }
    });
  if (!failed) {
    if (labels.size > 0) await client.command('labels', [...labels]);
    for (const { file, stanza } of stanzas)
      await client.command('recipient-stanza', [String(file), stanza.type, ...stanza.args], stanza.body);
  }
  await client.done();
}

async function unwrap(plugin: Plugin, client: Client): Promise<void> {
  const texts: string[] = [];
  const files = new Map<string, Stanza[]>();
  for await (const { type, args, body } of client.commands()) {
    const [first, stanzaType, ...rest] = args;
    if (type === 'add-identity' && first !== undefined && texts.length < limits.keys) texts.push(first);
    if (type !== 'recipient-stanza' || first === undefined || stanzaType === undefined) continue;
    const stanzas = files.get(first) ?? [];
    files.set(first, stanzas);
    stanzas.push({ type: stanzaType, args: rest, body });
  }
  const identities: Identity[] = [];
  let failed = false;
  for (const [index, text] of texts.entries())
    failed =
      !(await client.reportingErrors(['identity', String(index)], async () => {
        identities.push(plugin.identity(text, client));
      })) || failed;
  if (!failed) for (const [index, identity] of identities.entries()) await useIdentity(index, identity);
  await client.done();

  /** Stops at the first error that is not a file's own: it would come again with every other. */
  async function useIdentity(index: number, identity: Identity): Promise<void> {
    for (const [file, stanzas] of files) {
      let fileKey: Uint8Array | undefined;
      for (const [stanzaIndex, stanza] of stanzas.entries()) {
        try {
          fileKey = await identity.unwrapFileKey([stanza]);
        } catch (error) {
          if (!(error instanceof SalvageError)) throw error;
          const isStanza = error.code === 'age-header';
          const about = isStanza ? ['stanza', file, String(stanzaIndex)] : ['identity', String(index)];
          await client.command('error', about, utf8Bytes(messageOf(error)));
          if (!isStanza) return;
          break;
        }
        if (fileKey) break;
      }
      if (!fileKey) continue;
      await client.command('file-key', [file], fileKey);
      files.delete(file);
    }
  }
}

class Client implements PluginClient {
  readonly #write: PluginStreams['write'];
  readonly #stanzas: AsyncGenerator<Stanza, void, void>;

  constructor({ input, write }: PluginStreams) {
    this.#write = write;
    this.#stanzas = readStanzas(input);
  }

  /** Phase 1: what the client says, up to its `done`. */
  async *commands(): AsyncGenerator<Stanza, void, void> {
    for (let stanza = await this.#next(); stanza.type !== 'done'; stanza = await this.#next()) yield stanza;
  }

  /** Phase 2: a command and its answer. */
  async command(type: string, args: readonly string[] = [], body: Uint8Array = empty): Promise<Stanza> {
    await this.#write(utf8Bytes(encodeStanza({ type, args, body })));
    return await this.#next();
  }

  async done(): Promise<void> {
    await this.#write(utf8Bytes(encodeStanza({ type: 'done', args: [], body: empty })));
  }

  async message(text: string): Promise<void> {
    await this.command('msg', [], utf8Bytes(text));
  }

  async confirm(text: string, yes: string, no: string): Promise<boolean> {
    const labels = [yes, no].map((label) => encodeBase64(utf8Bytes(label)));
    const { type, args } = await this.command('confirm', labels, utf8Bytes(text));
    return type === 'ok' && args[0] === 'yes';
  }

  async requestSecret(prompt: string): Promise<string | undefined> {
    const { type, body } = await this.command('request-secret', [], utf8Bytes(prompt));
    return type === 'ok' ? asBuffer(body).toString('utf8') : undefined;
  }

  /** False if the work failed, which the client has then been told. */
  async reportingErrors(about: readonly string[], work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      const args = about[0] === 'internal' ? ['internal'] : about;
      await this.command('error', args, utf8Bytes(messageOf(error)));
      return false;
    }
  }

  async #next(): Promise<Stanza> {
    const { value, done } = await this.#stanzas.next();
    if (done) throw new SalvageError('bad-key', 'Cannot go on: the age client has ended');
    return value;
  }
}

async function* readStanzas(input: AsyncIterable<Uint8Array>): AsyncGenerator<Stanza, void, void> {
  const reader = new StanzaReader();
  let bytes = 0;
  let count = 0;
  for await (const chunk of input) {
    bytes += chunk.length;
    for (const stanza of reader.push(chunk)) {
      if (bytes > limits.bytes || ++count > limits.stanzas)
        throw new SalvageError('bad-key', 'Cannot go on: the age client says more than it can have to say');
      yield stanza;
    }
  }
}

/** What a plugin can say in one text: the message, and what to do. */
function messageOf({ message, hint }: SalvageError): string {
  return hint === undefined ? message : `${message} (${hint})`;
}
