import { SalvageError } from '../../errors/salvage-error.ts';
import type { Clock } from '../../clock/clock.ts';
import { RcloneStorage } from './rclone-storage.ts';

export interface RcloneSettings {
  /** The environment of the program: RCLONE_CONFIG and all that rclone itself reads there. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/**
 * The storage of `rclone:REMOTE:PATH`: what follows the first colon is rclone's own notation, so that connection strings
 * and plain paths work as well. The program is started by the first request. @throws usage if no remote is named
 */
export function openRclone(url: string, { env, clock }: RcloneSettings): RcloneStorage {
  const target = url.slice(url.indexOf(':') + 1);
  if (!/^(?:\/|:?[^:/][^:]*:)/.test(target) || target.startsWith('//') || /[\0\r\n]/.test(target))
    throw new SalvageError('usage', `Cannot use "${describeTarget(target)}": it names no remote of rclone`, {
      hint: 'The form is rclone:REMOTE:PATH; "rclone listremotes" shows what is set up, "rclone config" sets up more.',
    });
  return new RcloneStorage({ target, description: describeTarget(target), env, clock });
}

/** A connection string (`:backend,option=value:path`) may carry a password: its options are not shown. */
function describeTarget(target: string): string {
  const remote = /^:?[^:,/]*(?=,)/.exec(target)?.[0];
  if (remote === undefined) return `rclone:${target}`.slice(0, 300);
  // Values may be quoted and hold colons; the path is what follows the last one.
  return `rclone:${remote},…${target.slice(target.lastIndexOf(':'))}`.slice(0, 300);
}
