import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { displayWidth } from '../ui/display-width.ts';
import { commandProgram } from './command-program.ts';
import { commands } from './commands.ts';
import { commandHelp, foldCommand, programHelp, suggestCommand } from './help.ts';
import { createProcessContext } from './process-context.ts';

test('all help fits in 80 columns', async () => {
  const context = createProcessContext();
  const texts = [['salvage', programHelp()]];
  for (const name of Object.keys(commands)) {
    const { program, module } = (await commandProgram(name, context))!;
    texts.push([name, commandHelp(program, module.examples)]);
  }
  for (const [name, text] of texts)
    for (const line of text!.split('\n')) assert.ok(displayWidth(line) <= 80, `${name}: ${line}`);
});

test('a folded command line is the same to a shell', () => {
  const long = 'a-long-word-of-many-letters '.repeat(4).trim();
  assert.equal(foldCommand('salvage --help'), 'salvage --help');
  const folded = foldCommand(`echo ${long} 'in  quotes ${long}' "two  words" # and ${long}`);
  assert.ok(folded.split('\n').length > 3);
  assert.equal(execFileSync('sh', ['-c', folded]).toString(), `${long} in  quotes ${long} two  words\n`);
});

test('a command is suggested for its beginning and for up to two typing errors, else none', () => {
  const table: [typed: string, suggestion: string | undefined][] = [
    ['enc', 'encrypt'],
    ['encrpyt', 'encrypt'],
    ['decyrpt', 'decrypt'],
    ['dcrypt', 'decrypt'],
    ['inspekt', 'inspect'],
    ['kyegn', 'keygen'],
    ['e', undefined],
    ['', undefined],
    ['xy', undefined],
    ['restaurant', undefined],
  ];
  for (const [typed, suggestion] of table) assert.equal(suggestCommand(typed), suggestion, typed);
});
