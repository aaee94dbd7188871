import type { Command } from 'commander';
import type { CliContext } from '../context.ts';

export const examples: readonly string[] = [];

export function register(program: Command, context: CliContext): void {
  program.action(async () => {
    await context.stdout.write('');
  });
}
