import { Argument, type Command } from 'commander';
import { truncateToWidth } from '../../ui/display-width.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { complete } from '../complete.ts';
import { completionScripts } from '../completion-scripts.ts';
import type { CliContext } from '../context.ts';

export const examples: readonly string[] = [
  'source <(salvage completion bash)        # in ~/.bashrc; zsh in ~/.zshrc',
  'salvage completion fish > ~/.config/fish/completions/salvage.fish',
];

/** What zsh and fish have room for beside a word. */
const descriptionColumns = 56;

export function register(program: Command, context: CliContext): void {
  program
    .addArgument(new Argument('<shell>', 'whose script to print').choices(Object.keys(completionScripts)))
    .argument('[word...]', 'after --: print what could be the last of these words; the script asks so')
    .action(async (shell: string, words: readonly string[]) => {
      await context.stdout.write(
        words.length === 0 ? completionScripts[shell]! : await answer(words, context),
      );
    });
}

async function answer(words: readonly string[], context: CliContext): Promise<string> {
  const found = await complete(words, context);
  if (typeof found === 'string') return `${found}\n`;
  const lines = found
    // A name that would have to be escaped is one that nobody wants to have completed.
    .filter(({ value }) => value === escapeForTerminal(value))
    .map(
      ({ value, description }) =>
        `${value}\t${truncateToWidth(escapeForTerminal(description), descriptionColumns)}\n`,
    );
  return `words\n${lines.join('')}`;
}
