import { setTimeout } from 'node:timers/promises';
import { SalvageError } from '../../errors/salvage-error.ts';
import { SshFailure } from '../ssh-program/ssh-failure.ts';
import { SshProcess } from '../ssh-program/ssh-process.ts';
import { sshCommandLine, type SshCommandSettings } from '../ssh-program/ssh-command.ts';
import { parseSshUrl } from '../ssh-program/ssh-target.ts';
import { urlWithoutPassword } from '../object-url.ts';
import type { Clock } from '../../clock/clock.ts';
import type { ServeChannel } from './serve-channel.ts';
import { ServeClient, type ConnectOptions } from './serve-client.ts';
import { ServedStorage } from './served-storage.ts';

/** How long ssh may take to say why it has ended. */
const lastWordsMs = 3000;
/** For an account with a shell. A forced command of the key goes first, and says what is served. */
const remoteCommand = 'salvage serve --stdio --root / --allow-remove';

/** A channel over a program that leads to the server. */
function processChannel(process: SshProcess): ServeChannel {
  let closing: Promise<void> | undefined;
  return {
    input: process.output,
    output: process.input,
    onConnected() {
      process.isConnected = true;
    },
    async explainEnd() {
      const silent = new SshFailure('the connection was closed', process.isConnected);
      return await Promise.race([process.ended, setTimeout(lastWordsMs, silent, { ref: false })]);
    },
    async close() {
      await (closing ??= process.close());
    },
  };
}

/**
 * The storage behind `ssh://[user@]host[:port]/path`: the path lies below the folder that the server gives to this key.
 * @throws usage for a URL or ssh command that is none; failed
 */
export async function openSshStorage(
  url: string,
  settings: SshCommandSettings & { readonly clock: Clock } & ConnectOptions,
): Promise<ServedStorage> {
  const parsed = parseSshUrl(url);
  if (typeof parsed === 'string')
    throw new SalvageError('usage', `Cannot use the repository "${urlWithoutPassword(url)}": ${parsed}`, {
      hint: 'Give ssh://user@host:port/path.',
    });
  const { target, path = '' } = parsed;
  const command = sshCommandLine(settings, target, { command: remoteCommand });
  return await ServedStorage.open(
    url,
    async () =>
      await ServeClient.connect(
        processChannel(new SshProcess(command, target, settings.env as NodeJS.ProcessEnv)),
        `/${path}`,
        settings,
      ),
  );
}
