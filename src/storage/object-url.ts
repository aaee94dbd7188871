/** An object in a storage, as one URL names it. */
export interface ObjectUrl {
  /** What openStorage takes. */
  readonly storage: string;
  /** '' if the URL ends where a name should begin. */
  readonly name: string;
}

const withAuthority = /^((?:file|sftp|ssh|s3):\/\/[^/?]*)([^?]*)(\?.*)?$/is;

/**
 * Takes the URL of an object apart: its last part is the object's name, all before it (and the query of s3://, which stays
 * with it) the storage. Undefined for anything else: a path.
 */
export function parseObjectUrl(text: string): ObjectUrl | undefined {
  if (/^rclone:/i.test(text)) {
    // `rclone:remote:name` has no slash.
    const at = Math.max(text.lastIndexOf('/'), text.lastIndexOf(':')) + 1;
    const folder = text.slice(0, at);
    return { storage: folder.endsWith(':') ? folder : folder.slice(0, -1) || folder, name: text.slice(at) };
  }
  const [, authority, path = '', query = ''] = withAuthority.exec(text) ?? [];
  if (authority === undefined) return undefined;
  const at = path.lastIndexOf('/') + 1;
  // The slash of a root, and the second one of an absolute path of sftp://, belong to the folder.
  const folder = /^\/{1,2}$/.test(path.slice(0, at)) ? path.slice(0, at) : path.slice(0, Math.max(0, at - 1));
  return { storage: `${authority}${folder}${query}`, name: path.slice(at) };
}

/** A URL of any kind for messages: not too long, and without the password that somebody may have written into it. */
export function urlWithoutPassword(url: string): string {
  return url.replace(/(\/\/[^/@:]*):[^/@]*@/, '$1:…@').slice(0, 300);
}
