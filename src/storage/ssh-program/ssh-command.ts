import { parseShellWords } from '../shell-words.ts';
import type { SshTarget } from './ssh-target.ts';

export interface SshCommandSettings {
  /** From --ssh-command. */
  readonly sshCommand?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** True if somebody is there to type a passphrase or to accept a host key. */
  readonly isInteractive?: boolean | undefined;
}

/**
 * The program and the arguments that run `remote` on the target: the words of `sshCommand`, of SALVAGE_SSH or `ssh`, then
 * ours. The user's own come first and prevail, and configuration, agent, known hosts and jump hosts are ssh's own affair.
 * Without a person, and without a program that answers for one (SSH_ASKPASS, for good), ssh is told not to ask.
 * @throws usage if the command is none
 */
export function sshCommandLine(
  { sshCommand, env, isInteractive }: SshCommandSettings,
  { host, port, user }: SshTarget,
  remote: { readonly subsystem: string } | { readonly command: string },
): [program: string, ...args: string[]] {
  const fromEnvironment = env['SALVAGE_SSH'];
  const words: [string, ...string[]] =
    sshCommand !== undefined
      ? parseShellWords(sshCommand, '--ssh-command')
      : fromEnvironment
        ? parseShellWords(fromEnvironment, 'SALVAGE_SSH')
        : ['ssh'];
  // A backup needs none of what a configuration may forward, and a server must not get it.
  const options = ['ForwardX11=no', 'ForwardAgent=no', 'PermitLocalCommand=no', 'ClearAllForwardings=yes'];
  if (!isInteractive && !hasAskpass(env)) options.push('BatchMode=yes');
  words.push(...options.flatMap((option) => ['-o', option]));
  if (port !== undefined) words.push('-p', String(port));
  if (user !== undefined) words.push('-l', user);
  if ('subsystem' in remote) words.push('-s', '--', host, remote.subsystem);
  else words.push('-T', '--', host, remote.command);
  return words;
}

/** As ssh(1) has it: a program answers what ssh asks, whether there is a terminal or not. */
function hasAskpass({ SSH_ASKPASS, SSH_ASKPASS_REQUIRE }: SshCommandSettings['env']): boolean {
  return Boolean(SSH_ASKPASS) && /^(?:force|prefer)$/.test(SSH_ASKPASS_REQUIRE ?? '');
}
