import type { SshTarget } from './ssh-target.ts';

/** Why a connection through ssh is not there: for the message and hint of the SalvageError that names what it was for. */
export class SshFailure extends Error {
  override readonly name = 'SshFailure';
  readonly hint: string | undefined;
  /** True if another attempt may succeed. */
  readonly isTransient: boolean;

  constructor(state: string, isTransient: boolean, hint?: string) {
    super(state);
    this.isTransient = isTransient;
    this.hint = hint;
  }
}

/** What ssh prints (ssh.c, sshconnect.c, clientloop.c) where a second attempt may find things changed. */
const transientSigns =
  /connection (?:refused|reset|closed|timed out)|operation timed out|network is unreachable|no route to host|host is down|broken pipe|temporary failure in name resolution|kex_exchange_identification|banner exchange|timeout, server|software caused connection abort|client_loop: send disconnect|exceeded maxstartups/i;

const longestShownCharacters = 400;

/**
 * Explains the end of an ssh program.
 * @param said what it wrote to standard error, the end of it at least
 * @param wasConnected true if the service on the other side had answered before
 */
export function describeSshEnd(
  target: SshTarget,
  said: string,
  exit: { readonly code: number | null; readonly signal: string | null },
  wasConnected: boolean,
): SshFailure {
  const words = shownText(said);
  const name = target.user === undefined ? target.host : `${target.user}@${target.host}`;
  const login = `ssh${target.port === undefined ? '' : ` -p ${target.port}`} ${name}`;
  const state = words === '' ? `the connection ended (${exitText(exit)})` : words;
  if (/host key verification failed|host identification has changed/i.test(said))
    return new SshFailure(
      `the host key is not the known one: ${state}`,
      false,
      `If the server is new, run "${login}" once and compare the fingerprint before you accept it; if its key has changed, find out why before you remove the old one with "ssh-keygen -R".`,
    );
  if (/permission denied|too many authentication failures|no supported authentication/i.test(said))
    return new SshFailure(
      `the server does not let us in: ${state}`,
      false,
      `See with "${login} -v" which keys are offered; name another with --ssh-command "ssh -i KEYFILE".`,
    );
  if (/subsystem request failed/i.test(said))
    return new SshFailure(
      `the server has no sftp service: ${state}`,
      false,
      'Its sshd_config needs the line "Subsystem sftp internal-sftp".',
    );
  if (/could not resolve hostname/i.test(said) && !/temporary failure/i.test(said))
    return new SshFailure(
      state,
      false,
      'Check the name of the host in the URL, and "Host" in ~/.ssh/config.',
    );
  // Without a word of explanation, a connection that has worked was cut.
  return new SshFailure(state, transientSigns.test(said) || (wasConnected && exit.code !== 127));
}

function exitText({
  code,
  signal,
}: {
  readonly code: number | null;
  readonly signal: string | null;
}): string {
  return signal === null ? `ssh ended with exit code ${code ?? 'unknown'}` : `ssh was ended by ${signal}`;
}

/** Text of another machine on one line, bounded: the last of it, where programs say why they end. */
export function shownText(text: string): string {
  const line = text
    .replace(/[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]+/gu, ' ')
    .replace(/[@]{10,}/g, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return line.length <= longestShownCharacters ? line : `… ${line.slice(-longestShownCharacters)}`;
}
