import { spawnSync } from 'node:child_process';

const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/**
 * The differences between two trees, as independent programs see them; [] if there are none. rsync compares content,
 * links, attributes, ACLs and owners; find compares types, modes, owners, sizes, link counts, targets and times to the
 * nanosecond, and whether a file takes less on disk than its size, so that a hole is a hole in both.
 */
export function compareTrees(
  expected: string,
  actual: string,
  options: { readonly ignoreTop?: boolean; readonly sockets?: boolean } = {},
): string[] {
  const rsync = run('rsync', [
    '-aHAXn',
    '--checksum',
    '--itemize-changes',
    '--delete',
    ...(options.sockets === false ? ['--no-specials'] : []),
    `${expected}/`,
    `${actual}/`,
  ]);
  const differences = rsync
    .split('\n')
    .filter((line) => line !== '' && !(options.ignoreTop && line.endsWith(' ./')));
  const before = listing(expected, options);
  const after = listing(actual, options);
  for (const [name, facts] of before)
    if (after.get(name) !== facts) differences.push(`${name}: expected ${facts}, found ${after.get(name)}`);
  for (const name of after.keys()) if (!before.has(name)) differences.push(`${name}: not expected`);
  return differences;
}

function listing(
  directory: string,
  { ignoreTop, sockets }: { readonly ignoreTop?: boolean; readonly sockets?: boolean },
): Map<string, string> {
  // Sizes of directories are the file system's own affair.
  const format = (facts: string): string[] => ['-printf', `%P\\0${facts}\\0%s %b\\0`];
  const args = [
    directory,
    ...(ignoreTop ? ['-mindepth', '1'] : []),
    ...(sockets === false ? ['!', '-type', 's'] : []),
    '(',
    '-type',
    'd',
    ...format('%y %m %U %G %T@'),
    '-o',
    ...format('%y %m %U %G %T@ %s %n %l'),
    ')',
  ];
  const found = new Map<string, string>();
  const parts = run('find', args).split('\0');
  for (let index = 0; index + 2 < parts.length; index += 3) {
    const [size, blocks] = parts[index + 2]!.split(' ').map(Number);
    const isSparse = size! >= 65_536 && blocks! * 512 < size! * 0.9;
    found.set(parts[index]!, `${parts[index + 1]}${isSparse ? ' sparse' : ''}`);
  }
  return found;
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'latin1',
    env: environment,
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return stdout;
}
