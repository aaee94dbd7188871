import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkClock, checkOpenFiles, checkVersion } from './check-surroundings.ts';
import { formatChecks } from './machine-check.ts';
import { programsIn } from './needed-programs.ts';

test('the version of Node', () => {
  assert.deepEqual(
    ['24.7.0', '24.6.9', '25.0.0', '20.19.2'].map((node) => checkVersion(node).state),
    ['ok', 'bad', 'ok', 'bad'],
  );
});

test('the limit of open files, as far as it is known', () => {
  const states = (soft: string): string[] =>
    checkOpenFiles(`Limit  Soft  Hard\nMax open files            ${soft}      4096     files\n`).map(
      ({ state }) => state,
    );
  assert.deepEqual(
    ['1024', '1023', '128', '127', 'unlimited'].flatMap((soft) => states(soft)),
    ['ok', 'warn', 'warn', 'bad', 'ok'],
  );
  assert.deepEqual(checkOpenFiles(''), []);
});

test('a clock that was never set', () => {
  assert.equal(checkClock(new Date(0)).state, 'bad');
  assert.equal(checkClock(new Date('2026-11-23T12:00:00Z')).state, 'ok');
});

test('the programs that a command line of sh begins with', () => {
  const table: [line: string, programs: string[]][] = [
    ['pg_dump app', ['pg_dump']],
    ['runuser -u postgres -- pg_dump app', ['runuser', 'pg_dump']],
    ['LANG=C nice -n 5 -- mysqldump --all | gzip -c', ['nice', 'mysqldump', 'gzip']],
    ['cd /srv && exec ./dump "a; b | c"', ['./dump']],
    ['test -s etc/passwd', []],
    ["sqlite3 app.db '.backup x' > /dev/null 2>&1; cat x", ['sqlite3', 'cat']],
    ['"$PROGRAM" --all', []],
    ['', []],
  ];
  for (const [line, programs] of table) assert.deepEqual(programsIn(line), programs, line);
});

test('long lines go on below themselves, and a command stays whole', () => {
  const text = formatChecks(
    [
      { check: 'clock', subject: '', state: 'ok', message: 'right' },
      {
        check: 'repository',
        subject: 'main',
        state: 'bad',
        message: 'one two three four\u001b[31m',
        mend: 'a command that is longer than the line',
      },
    ],
    36,
  );
  assert.equal(
    text,
    `ok       clock       right
bad      repository  main: one two
                     three
                     four\\x1b[31m
                     mend: a command that is longer than the line
`,
  );
});
