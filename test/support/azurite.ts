// Azurite, a server of Azure Blob Storage, on the loopback interface, with everything in memory.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { azuriteMain } from './peers.ts';

const account = 'devstoreaccount1';
/** Published with Azurite. */
const accountKey = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** A TestContext, or `{ after }` of node:test in the body of a suite. */
interface Lifetime {
  after(callback: () => Promise<void>): void;
}

/**
 * Starts a server that ends when the test or suite does. Returns the URL of its account with a shared access signature,
 * which is what rclone's option `sas_url` takes.
 */
export async function startAzurite(lifetime: Lifetime): Promise<string> {
  // --disableTelemetry: it would phone home.
  const options = ['--disableTelemetry', '--skipApiVersionCheck', '--inMemoryPersistence'];
  const child = spawn(
    process.execPath,
    [azuriteMain, '--blobHost', '127.0.0.1', '--blobPort', '0', ...options],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  lifetime.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });
  for await (const line of createInterface(child.stdout)) {
    const address = /listens on (http:\/\/\S+)/.exec(line)?.[1];
    if (address === undefined) continue;
    child.stdout.resume();
    return `${address}/${account}?${sharedAccessSignature()}`;
  }
  throw new Error('Azurite ended before it listened');
}

/** An account SAS: every right on containers and blobs. */
function sharedAccessSignature(): string {
  const [permissions, services, types, expiry, version] = [
    'rwdlac',
    'b',
    'sco',
    '2099-01-01T00:00:00Z',
    '2019-02-02',
  ];
  const text = [account, permissions, services, types, '', expiry, '', '', version, ''].join('\n');
  const signature = createHmac('sha256', Buffer.from(accountKey, 'base64')).update(text).digest('base64');
  return new URLSearchParams({
    sv: version,
    ss: services,
    srt: types,
    sp: permissions,
    se: expiry,
    sig: signature,
  }).toString();
}
