import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { keyPaths } from '../keys/key-paths.ts';
import { loadSigner } from '../keys/load-signer.ts';
import { makeSigningKey } from '../keys/make-signing-key.ts';
import { signHealingRequests, storeHealingRequest } from '../operation/healing/healing-requests.ts';
import { packsToHeal } from '../operation/verify/damage-reach.ts';
import type { VerifyResult } from '../operation/verify/verify.ts';
import type { Storage } from '../storage/storage.ts';
import type { CliContext } from './context.ts';
import { passphraseRequester, type PassphraseFlags } from './key-flags.ts';
import { systemError } from './system-error.ts';
import { count } from '../ui/count.ts';

export interface RequestHealingFlags extends PassphraseFlags {
  /** A folder to write to in place of the repository, or true. */
  readonly requestHealing?: string | true;
  readonly signingKey?: string;
}

/** Asks the host to store anew what `verify` found damaged. Returns the names of the requests. @throws bad-key, failed */
export async function requestHealing(
  storage: Storage,
  { repository, troubles }: VerifyResult,
  flags: RequestHealingFlags,
  context: CliContext,
): Promise<string[]> {
  const { terminal, clock, signal } = context;
  const packs = packsToHeal(troubles);
  if (packs.length === 0) {
    terminal.info('Nothing is asked for: no pack is damaged or missing, and only packs can be healed');
    return [];
  }
  const key = flags.signingKey === undefined ? await ownKey(context) : resolve(flags.signingKey);
  const signer = await loadSigner(key, {
    requestPassphrase: passphraseRequester(flags, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
    signal,
  });
  const requests = await signHealingRequests(repository, packs, clock.now(), signer);
  for (const request of requests) {
    if (flags.requestHealing === true) await storeHealingRequest(storage, request, signal);
    else {
      const folder = resolve(flags.requestHealing!);
      writeNew(join(folder, request.name), request.document);
      writeNew(join(folder, request.signatureName), request.armored);
    }
    const where = flags.requestHealing === true ? '' : ` in "${flags.requestHealing}"`;
    terminal.info(
      `Wrote a signed request for healing of ${count(packs.length, 'pack')}: "${request.name}"${where}`,
    );
  }
  terminal.hint(
    `the host acts on it at its next backup if it trusts this key; on the host, once: salvage auditors add ${key}.pub --repo …`,
  );
  return requests.map(({ name }) => name);
}

async function ownKey({ env, terminal }: CliContext): Promise<string> {
  const { auditorKey } = keyPaths(env);
  if (!existsSync(auditorKey) && !existsSync(`${auditorKey}.pub`)) {
    await makeSigningKey(auditorKey, { comment: 'salvage auditor' });
    terminal.info(`Made the auditor's signing key "${auditorKey}"`);
  }
  return auditorKey;
}

function writeNew(path: string, bytes: Uint8Array): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes, { flag: 'wx', flush: true });
  } catch (error) {
    throw systemError(`write the request "${path}"`, error);
  }
}
