import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../errors/salvage-error.ts';
import { Configuration } from './configuration.ts';

/** Writes files into a folder of their own; the first is salvage.toml. Returns its path. */
function write(t: TestContext, text: string, others: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-configuration-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries({ 'salvage.toml': text, ...others })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return join(folder, 'salvage.toml');
}

/** What is said of a configuration that is wrong, its folder left out. */
function excerpt(path: string, env: Record<string, string> = {}): string {
  try {
    Configuration.load(path, env);
  } catch (error) {
    assert.ok(error instanceof SalvageError, String(error));
    assert.equal(error.code, 'usage');
    return String(error.details['excerpt'] ?? error.message).replaceAll(`${dirname(path)}/`, '');
  }
  return assert.fail('nothing is wrong with it');
}

const repository = '[repositories.main]\nurl = "repo"\n';

test('defaults are filled in, and paths are seen from its folder', (t) => {
  const path = write(t, `${repository}[jobs.etc]\npaths = ["/etc"]\n`);
  const configuration = Configuration.load(path, {});
  const { jobs, service, hooks, records } = configuration.settings;
  assert.equal(jobs['etc']?.schedule, 'daily');
  assert.deepEqual([service.nice, hooks, records.journal], [10, [], false]);
  assert.equal(configuration.path('repo'), join(dirname(path), 'repo'));
  assert.equal(configuration.path('/repo'), '/repo');
});

test('a wrong key is shown where it stands, with the right one', (t) => {
  const path = write(t, `${repository}[jobs.etc]\n  shedule = "daily"\npaths = ["/etc"]\n`);
  assert.equal(
    excerpt(path),
    `salvage.toml:4:3: there is no key "shedule" in "jobs.etc"; did you mean "schedule"?
  4 |   shedule = "daily"
    |   ^^^^^^^`,
  );
});

test('everything that is wrong is found at once, in the order of the lines', (t) => {
  const path = write(
    t,
    `[repositories.main]
ur = "repo"
passphrase = { fil = "x" }
[repositories.main.retention]
grace = "1 day"
[jobs.etc]
paths = "/etc"
schedule = "someday"
threads = 100
[[hooks]]
on = ["befor"]
command = "x"
[[notify.webhooks]]
url = "ftp://x"
kind = "slack"
`,
  );
  assert.deepEqual(
    excerpt(path)
      .split('\n')
      .filter((line) => line.startsWith('salvage.toml'))
      .map((line) => line.slice('salvage.toml:'.length)),
    [
      '1:15: "repositories.main" needs a key "url"',
      '2:1: there is no key "ur" in "repositories.main"; did you mean "url"?',
      '3:1: "repositories.main.passphrase" must be { file = "…" }, { command = "…" } or { credential = "…" }',
      '4:20: "repositories.main.retention" must say what to keep, for example keep-daily = 7',
      '5:1: "repositories.main.retention.grace" must be a duration, such as "36h", "7d" or "1y6m"',
      '7:1: "jobs.etc.paths" must be a list',
      '8:1: "jobs.etc.schedule" must be a time, such as "daily", "02:30", "Mon..Fri 22:00", "*-*-01 04:00" or "*:00/15"',
      '9:1: "jobs.etc.threads" must be a whole number from 1 to 64',
      '11:7: "hooks.0.on.0" must be one of before, after, success, failure, warning; did you mean "before"?',
      '14:1: "notify.webhooks.0.url" must be an http(s) URL, or { file = "…" }, { command = "…" } or { credential = "…" }',
    ],
  );
});

test('names that refer to nothing, and keys that exclude each other', (t) => {
  const cases: [toml: string, said: RegExp][] = [
    ['[jobs.a]\nrepository = "mian"\npaths = ["/a"]', /no \[repositories\.mian\]; did you mean "main"\?/],
    ['[jobs.a]\npaths = ["/a"]\ncommand = "x"\nas = "y"', /must have one of the keys paths, command, pull/],
    ['[jobs.a]\nschedule = "daily"', /must have one of the keys/],
    ['[jobs.a]\npaths = ["~/a"]', /"jobs\.a\.paths\.0" must be a path; .* "~" is not known/],
    ['[jobs.a]\ncommand = "x"', /both of the keys command and as/],
    ['[jobs.a]\ncommand = "x"\nas = "y"\nexclude = ["z"]', /"exclude" does not go with "command"/],
    ['[jobs.a]\npull = "web"\ntags = ["z"]', /"tags" does not go with "pull"/],
    ['[copies.a]\nfrom = "main"\nto = "main"', /needs two repositories/],
    ['[repositories.main.drill]', /a drill needs "identities"/],
    ['[repositories.b]\nurl = "b"\n[jobs.a]\npaths = ["/a"]', /must say which repository it is for/],
    ['[repositories.b]\nurl = "b"\nsigner = "x"', /"signer" needs "allowed-signers"/],
    ['[repositories.b]\nurl = "b"\npassphrase = { credential = "c" }', /there is no "c" in \[credentials\]/],
    ['[repositories.b]\nurl = "b"\n[repositories.b.retention]\ngrace = "1d"', /must say what to keep/],
  ];
  for (const [toml, said] of cases) assert.match(excerpt(write(t, `${repository}${toml}\n`)), said, toml);
});

test('files that are included add tables and go on with lists; what two files set is found', (t) => {
  const hook = '[[hooks]]\non = ["after"]\ncommand = ';
  const path = write(t, `include = ["conf.d/*.toml"]\n${repository}${hook}"first"\n`, {
    'conf.d/b.toml': `[jobs.b]\npaths = ["/b"]\n${hook}"third"\n`,
    'conf.d/a.toml': `[jobs.a]\npaths = ["/a"]\n${hook}"second"\n`,
    'conf.d/a.txt': 'no TOML',
  });
  const { included, settings } = Configuration.load(path, {});
  assert.deepEqual(Object.keys(settings.jobs), ['a', 'b']);
  assert.deepEqual(
    settings.hooks.map(({ command }) => command),
    ['first', 'second', 'third'],
  );
  assert.equal(included.length, 2);
  const twice = write(t, `include = ["other.toml"]\n${repository}`, { 'other.toml': repository });
  assert.match(
    excerpt(twice),
    /^other\.toml:2:1: "repositories\.main\.url" is set twice, in line 3 of "salvage\.toml"/,
  );
  for (const [first, second] of [
    ['jobs = 1', '[jobs.a]'],
    ['[hooks]', '[[hooks]]'],
    ['[[hooks]]', '[hooks]'],
  ] as const) {
    const mixed = write(t, `include = ["other.toml"]\n${first}\n`, { 'other.toml': `${second}\n` });
    assert.match(excerpt(mixed), /^other\.toml:1:\d: "\w+" is set twice, in line 2 of "salvage\.toml"/);
  }
  assert.match(
    excerpt(write(t, 'include = ["none.toml"]\n')),
    /salvage\.toml:1:1: there is no file "none\.toml"/,
  );
});

test('variables of the environment override keys', (t) => {
  const path = write(t, `${repository}[jobs.Web_1]\npaths = ["/etc"]\n`);
  const { settings } = Configuration.load(path, {
    SALVAGE_REPOSITORY: 'not one of these',
    SALVAGE_JOBS__WEB_1__LIMIT_UPLOAD: '2M',
    SALVAGE_JOBS__WEB_1__PATHS: '["/srv", "/home"]',
    SALVAGE_JOBS__WEB_1__ONE_FILE_SYSTEM: 'true',
    SALVAGE_SERVICE__NICE: '5',
    SALVAGE_REPOSITORIES__MAIN__URL: 's3://bucket/main',
  });
  const job = settings.jobs['Web_1'];
  assert.deepEqual(job?.paths, ['/srv', '/home']);
  assert.equal(job['limit-upload'], '2M');
  assert.equal(job['one-file-system'], true);
  assert.equal(settings.service.nice, 5);
  assert.equal(settings.repositories['main']?.url, 's3://bucket/main');
  assert.equal(
    excerpt(path, { SALVAGE_JOBS__WEB_1__PATH: '/x' }),
    `SALVAGE_JOBS__WEB_1__PATH:1:1: there is no key "path" in "jobs.Web_1"; did you mean "paths"?
  1 | SALVAGE_JOBS__WEB_1__PATH=/x
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^`,
  );
  assert.match(excerpt(path, { SALVAGE_JOBS__WEB_1__PATHS: '["/x"' }), /the value is no valid TOML/);
});

test('secrets come from files, commands, or what systemd hands over', (t) => {
  const path = write(t, `${repository}passphrase = { credential = "pass" }\n[credentials]\npass = "p.txt"\n`);
  const secret = { credential: 'pass' };
  assert.deepEqual(Configuration.load(path, {}).secret(secret), { file: join(dirname(path), 'p.txt') });
  const handed = Configuration.load(path, { CREDENTIALS_DIRECTORY: '/run/credentials/salvage' });
  assert.deepEqual(handed.secret(secret), { file: '/run/credentials/salvage/pass' });
});

test('names that mean something to JavaScript mean nothing here', (t) => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    assert.match(excerpt(write(t, `[${name}]\nx = 1\n`)), new RegExp(`"${name}"`), name);
    assert.match(excerpt(write(t, `jobs = { ${name} = 1 }\n`)), /salvage\.toml:1:/, name);
  }
  assert.equal(({} as Record<string, unknown>)['x'], undefined);
});

test('whatever a file holds, it is either right or the user is told', (t) => {
  const path = write(t, '');
  const words = [
    '[',
    ']',
    '[[',
    ']]',
    '=',
    '"',
    '\n',
    '.',
    '{',
    '}',
    ',',
    '#',
    '1',
    'true',
    'jobs',
    'hooks',
    'on',
    'x',
    ' ',
  ];
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom(...words), fc.string())), (parts) => {
      writeFileSync(path, parts.join(''));
      try {
        Configuration.load(path, {});
      } catch (error) {
        assert.ok(error instanceof SalvageError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test('how many steps go side by side, and hosts that are none', (t) => {
  const path = write(t, `concurrency = 8\ninclude = ["hosts/*.toml"]\n`, {
    'hosts/a.toml': `${repository}[jobs.a]\npull = "root@a"\nmax-time = "12h"\n`,
  });
  assert.equal(Configuration.load(path, {}).settings.concurrency, 8);
  assert.equal(Configuration.load(write(t, repository), {}).settings.concurrency, 1);
  assert.equal(
    excerpt(write(t, `concurrency = 0\n${repository}`)),
    `salvage.toml:1:1: "concurrency" must be a whole number from 1 to 256
  1 | concurrency = 0
    | ^^^^^^^^^^^`,
  );
  assert.match(
    excerpt(write(t, `${repository}[jobs.a]\npull = "root@a/etc"\nmax-time = "12h"\n`)),
    /^salvage\.toml:4:1: "pull" names no host: a path follows the host$/m,
  );
  assert.match(
    excerpt(write(t, `${repository}[jobs.a]\npaths = ["/etc"]\nmax-time = "12h"\n`)),
    /^salvage\.toml:5:1: "max-time" does not go with "paths"$/m,
  );
});
