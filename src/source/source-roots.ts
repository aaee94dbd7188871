import { SalvageError } from '../errors/salvage-error.ts';

/** A place in the tree of what is to be read: either read whole, or only the way to deeper roots. */
export interface RootNode {
  /** One path component, as a latin1 string (one character per byte); '' for the top. */
  readonly name: string;
  /** Where it is on this machine, latin1; absolute unless it was given relative. */
  realPath: string;
  /** A root: itself and everything below is read. */
  isRoot: boolean;
  /** A last symlink is followed: the root was given with a slash at its end. */
  follow: boolean;
  readonly children: Map<string, RootNode>;
}

/**
 * The roots of one walk as a tree, so that the walk is one sorted pass. As tar does it, the stored path is the given
 * one without its leading slash: `/etc/ssl` becomes `etc/ssl`; relative paths stay as given; `.` and `/` are the top
 * itself. The same root given twice and roots inside other roots are merged.
 *
 * Throws 'usage' on `..` in a path, on an empty path, a NUL, no paths at all, and on two different places that would be
 * stored under one path (`/etc` and `etc`).
 */
export function planRoots(paths: readonly (string | Uint8Array)[]): RootNode {
  if (paths.length === 0)
    throw new SalvageError('usage', 'Cannot back up nothing: no path is given', {
      hint: 'Name at least one file or directory.',
    });
  const top: RootNode = { name: '', realPath: '', isRoot: false, follow: true, children: new Map() };
  for (const given of paths) addRoot(top, given);
  return top;
}

function addRoot(top: RootNode, given: string | Uint8Array): void {
  const bytes = typeof given === 'string' ? Buffer.from(given) : Buffer.from(given);
  const shown = bytes.toString();
  const text = bytes.toString('latin1');
  if (text === '' || text.includes('\0'))
    throw new SalvageError('usage', `Cannot back up "${shown}": it is not a path`);
  const absolute = text.startsWith('/');
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw new SalvageError('usage', `Cannot back up "${shown}": it contains ".."`, {
      hint: 'Name the directory itself, or change into it first.',
    });
  const follow = /(?:^|\/)\.?$/.test(text);
  let node = top;
  let realPath = absolute ? '/' : '.';
  claim(node, realPath, parts.length === 0, shown);
  for (const [index, part] of parts.entries()) {
    realPath = realPath === '.' ? part : realPath === '/' ? `/${part}` : `${realPath}/${part}`;
    let child = node.children.get(part);
    if (!child) {
      child = { name: part, realPath: '', isRoot: false, follow: true, children: new Map() };
      node.children.set(part, child);
    }
    node = child;
    const last = index === parts.length - 1;
    claim(node, realPath, last, shown);
    if (last) node.follow &&= follow;
  }
  node.isRoot = true;
  for (const ancestor of ancestors(top, parts))
    if (ancestor.isRoot && ancestor !== node && !sameBase(ancestor.realPath, realPath)) conflict(shown);
  for (const inner of descendants(node)) if (!sameBase(inner.realPath, realPath)) conflict(shown);
}

// A parent that several roots share may come from / and from here; the one that is read decides, else the first.
function claim(node: RootNode, realPath: string, isRoot: boolean, shown: string): void {
  if (node.realPath === '') node.realPath = realPath;
  else if (isRoot) {
    if (node.isRoot && node.realPath !== realPath) conflict(shown);
    node.realPath = realPath;
  }
}

function conflict(shown: string): never {
  throw new SalvageError(
    'usage',
    `Cannot back up "${shown}": another root would be stored under the same path`,
    { hint: 'Give all paths either from / or all relative.' },
  );
}

function sameBase(one: string, other: string): boolean {
  return one.startsWith('/') === other.startsWith('/');
}

function ancestors(top: RootNode, parts: readonly string[]): RootNode[] {
  const found = [top];
  let node = top;
  for (const part of parts) found.push((node = node.children.get(part)!));
  return found;
}

function* descendants(node: RootNode): Generator<RootNode> {
  for (const child of node.children.values()) {
    if (child.isRoot) yield child;
    yield* descendants(child);
  }
}
