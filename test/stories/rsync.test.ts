// Repositories and archives carried by `rsync -a` over a real sshd, both ways: what docs/manual/rsync.md tells.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { createSandbox, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

suite('rsync', needsPeers, () => {
  const box: Sandbox = createSandbox({ after });
  const trust = '--allowed-signers allowed --signer host';
  const cleanUp: (() => Promise<void>)[] = [];
  let sshd: TestSshd;
  let there: string;

  after(async () => {
    for (const work of cleanUp) await work();
  });
  before(async () => {
    sshd = await startSshd({ after: (work) => void cleanUp.push(work) });
    there = `${sshd.user}@${sshd.host}:${sshd.folder}`;
    for (let index = 0; index < 40; index++)
      box.write(`src/d${index % 4}/f${index}`, `content of ${index}\n`.repeat(index * 40));
    await run(`ssh-keygen -q -t ed25519 -N '' -f id; ssh-keygen -q -t ed25519 -N '' -f signer
      salvage init --repo repo -R id.pub --name host > allowed
      echo "host $(cat signer.pub)" > archive-signers`);
  });

  async function run(script: string, code = 0): Promise<RunResult> {
    const rsync = `rsync -a -e '${sshd.client.sshCommand} -p ${sshd.port}'`;
    const result = await box.shell(script.replaceAll('RSYNC', rsync).replaceAll('THERE', there));
    assert.equal(result.code, code, result.stderr);
    return result;
  }

  test('a repository pushed to a server verifies and restores there, and so does one fetched back', async () => {
    await run('salvage backup --repo repo src; RSYNC repo/ THERE/repo/');
    box.write('src/later', 'later');
    await run('salvage backup --repo repo src; RSYNC repo/ THERE/repo/');
    for (const [repository, out] of [
      [`${sshd.folder}/repo`, 'out-there'],
      [sshd.url('repo'), 'out-sftp'],
    ])
      await run(`salvage verify --repo ${repository} --ssh-command '${sshd.client.sshCommand}' ${trust} --read-data
        salvage restore latest --repo ${repository} --ssh-command '${sshd.client.sshCommand}' -i id ${trust} --target ${out}
        diff -r src ${out}/src`);
    rmSync(box.path('repo'), { recursive: true });
    await run(`RSYNC THERE/repo/ repo/
      salvage verify --repo repo ${trust} --read-data
      salvage restore latest --repo repo -i id ${trust} --target out-back; diff -r src out-back/src
      salvage backup --repo repo src; salvage verify --repo repo ${trust}`);
  });

  test('a copy that was cut short is told from a whole one, and the next rsync mends it', async () => {
    mkdirSync(box.path('copy'));
    await run('rsync -a --exclude "*.age" repo/ copy/');
    await run(`salvage verify --repo copy ${trust}`, 13);
    await run(`rsync -a repo/ copy/; salvage verify --repo copy ${trust} --read-data`);
  });

  test('a folder of archives, with their signatures, there and back', async () => {
    mkdirSync(box.path('archives'));
    await run(`salvage seal src -R id.pub --signing-key signer -o archives/one.tar.zst.age
      RSYNC archives/ THERE/archives/
      RSYNC THERE/archives/ fetched/
      salvage open fetched/one.tar.zst.age -i id --allowed-signers archive-signers --signer host -C opened
      diff -r src opened/src`);
    await run(
      `ssh-keygen -Y verify -f archive-signers -I host -n salvage-archive -s ${sshd.folder}/archives/one.tar.zst.age.sig < ${sshd.folder}/archives/one.tar.zst.age`,
    );
  });
});
