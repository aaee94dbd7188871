import { ServeClient } from '../storage/ssh/serve-client.ts';
import { ServedStorage } from '../storage/ssh/served-storage.ts';
import type { Storage } from '../storage/storage.ts';
import type { CliContext } from './context.ts';
import { openRepositoryStorage, type OpeningFlags, type RepositoryFlag } from './repository-options.ts';
import { openStdioStreams } from './stdio-streams.ts';

/** The repository of a keeper that runs this program over SSH, and serves it over its standard input and output. */
export const keeperUrl = 'stdio:';

/**
 * As `openRepositoryStorage`, for the commands of a host: `stdio:` stands for the keeper that pulls. Standard output is
 * then the keeper's: a command must not print anything there.
 */
export async function openHostStorage(
  flags: RepositoryFlag,
  context: CliContext,
  opening: OpeningFlags = {},
): Promise<{ readonly storage: Storage; readonly url: string; readonly isKeepers: boolean }> {
  if (flags.repo !== keeperUrl)
    return { ...(await openRepositoryStorage(flags, context, opening)), isKeepers: false };
  const { input, output } = openStdioStreams(context, 'the keeper');
  let isFirst = true;
  const storage = await ServedStorage.open('the keeper that pulls', async () => {
    const ended = new Error('the keeper has closed the connection');
    // There is no other connection to be had.
    if (!isFirst) throw ended;
    isFirst = false;
    const channel = {
      input,
      output,
      onConnected: () => {},
      explainEnd: async () => await Promise.resolve(ended),
      async close() {
        input.destroy();
        await new Promise<void>((resolve) => {
          if (output.destroyed) resolve();
          else output.once('close', resolve).end(() => output.destroy());
        });
      },
    };
    return await ServeClient.connect(channel, '/');
  });
  context.atEnd(() => storage.close());
  return { storage, url: keeperUrl, isKeepers: true };
}
