/** Where an SSH server is, as a URL says it. What is left out is up to ssh and its configuration. */
export interface SshTarget {
  /** A host name, an address, or an alias of ssh_config. */
  readonly host: string;
  readonly port: number | undefined;
  readonly user: string | undefined;
}

/** A URL of one of the kinds `sftp:` and `ssh:`, taken apart: the target, and what follows the slash behind it. */
export interface SshUrl {
  readonly target: SshTarget;
  /** Decoded; undefined if nothing follows the host, not even a slash. */
  readonly path: string | undefined;
}

const form =
  /^[a-z]+:\/\/(?:([^@/]*)@)?(\[[0-9a-fA-F:.]+(?:%[A-Za-z0-9._-]+)?\]|[^@:/[\]%]+)(?::(\d{1,5}))?(?:\/(.*))?$/s;

/**
 * Takes a URL of the form `scheme://[user@]host[:port][/path]` apart. Percent escapes are decoded in user and path.
 * Returns a text that says what is wrong with it, if something is: a host or user that ssh would take for an option too.
 */
export function parseSshUrl(url: string): SshUrl | string {
  const match = form.exec(url);
  if (!match) return 'it is not of the form [user@]host[:port]/path';
  const [, userPart, hostPart, portPart, pathPart] = match;
  if (userPart?.includes(':')) return 'it contains a password, which ssh does not take';
  const user = decode(userPart);
  const path = decode(pathPart);
  if ((userPart !== undefined && user === undefined) || (pathPart !== undefined && path === undefined))
    return 'it has a percent sign that begins no escape';
  const host = hostPart!.startsWith('[') ? hostPart!.slice(1, -1) : hostPart!;
  // What ssh itself refuses in names, and what would be an option.
  for (const name of [host, user])
    if (
      name !== undefined &&
      (name === '' || name.startsWith('-') || /[\s\0-\x1f\x7f'"`$\\;&|<>(){}]/.test(name))
    )
      return `"${name.replace(/[^\x20-\x7e]/g, '?')}" is no name of a host or user`;
  const port = portPart === undefined ? undefined : Number(portPart);
  if (port !== undefined && (port < 1 || port > 65_535)) return `there is no port ${port}`;
  if (path?.includes('\0')) return 'its path contains a NUL character';
  return { target: { host, port, user }, path };
}

function decode(part: string | undefined): string | undefined {
  try {
    return part === undefined ? undefined : decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

/** `[user@]host`, or `ssh://[user@]host[:port]` and nothing after it. Returns a text that says what is wrong with it, if something is. */
export function parseHost(text: string): SshTarget | string {
  const parsed = parseSshUrl(/^ssh:\/\//i.test(text) ? text : `ssh://${text}`);
  if (typeof parsed === 'string') return parsed;
  return (parsed.path ?? '') === '' ? parsed.target : 'a path follows the host';
}
