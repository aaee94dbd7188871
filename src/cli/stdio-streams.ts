import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { SalvageError } from '../errors/salvage-error.ts';
import type { CliContext } from './context.ts';

/**
 * Standard input and output for a protocol. Not the process's own streams: those write to pipes synchronously, and a
 * partner that reads nothing would stop us.
 * @throws usage if a person, or a file, is at one of them
 */
export function openStdioStreams(
  { stdin, stdout }: CliContext,
  purpose: string,
): { readonly input: Socket; readonly output: Socket } {
  for (const { fd, isTerminal } of [stdin, stdout]) {
    const status = fstatSync(fd);
    if (!isTerminal && (status.isFIFO() || status.isSocket())) continue;
    throw new SalvageError(
      'usage',
      `Cannot talk to ${purpose}: standard input and output must be pipes, as sshd makes them`,
      {
        hint: 'This is run at the other end of an SSH connection: by the command of a key in authorized_keys.',
      },
    );
  }
  stdin.claim(purpose);
  return {
    input: new Socket({ fd: stdin.fd, readable: true, writable: false }),
    output: new Socket({ fd: stdout.fd, readable: false, writable: true }),
  };
}
