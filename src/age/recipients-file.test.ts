import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HybridIdentity, HybridRecipient } from './hybrid.ts';
import { parseRecipient } from './parse-recipient.ts';
import type { Recipient } from './recipient.ts';
import { parseRecipientsFile } from './recipients-file.ts';
import { X25519Identity, X25519Recipient } from './x25519.ts';

const native = X25519Identity.generate();
const hybrid = HybridIdentity.generate();
// Made by `ssh-keygen` for this test and used nowhere else.
const sshEd25519 = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILF8wpguWyzYLC61g7bwMNEzycRkaZAgi5KMskNlNsb+';
const sshEcdsa =
  'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGvKR5NpWBTsuk3sPQRAOt1a4++3Cwvqp9CbxVUDEnrlPMlv6VVlcQt6RPOcjKF4Ho4Rn5/MMQvsT2j+jxFY7SU=';

/** Only native keys have a text. */
function textOf(recipient: Recipient | undefined): string {
  assert.ok(recipient instanceof X25519Recipient || recipient instanceof HybridRecipient);
  return recipient.toString();
}

function parse(text: string | Uint8Array): ReturnType<typeof parseRecipientsFile> {
  return parseRecipientsFile(typeof text === 'string' ? Buffer.from(text) : text, 'keys.txt');
}

test('one recipient to a line, with comments, empty lines and either line end', () => {
  const text = `# ours\r\n${native.recipient.toString()}\r\n\n${hybrid.recipient.toString()}\n${sshEd25519} me@host\n`;
  const { recipients, warnings } = parse(text);
  assert.equal(recipients.length, 3);
  assert.deepEqual(warnings, []);
  assert.equal(textOf(recipients[0]), native.recipient.toString());
  assert.equal(textOf(recipients[1]), hybrid.recipient.toString());
});

test('a private key is refused by that name, and nothing of it is repeated', () => {
  const secrets = [
    native.toSecretString(),
    native.toSecretString().toLowerCase(),
    `  ${native.toSecretString()}`,
    hybrid.toSecretString(),
    'AGE-PLUGIN-YUBIKEY-1QQQQQQQQQQQQQ',
    '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----',
    '-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA',
  ];
  for (const secret of secrets)
    assert.throws(
      () => parse(`${native.recipient.toString()}\n${secret}\n`),
      (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, 'bad-key');
        assert.match(error.message, /line 2 of the recipients file "keys.txt": it is a private key/);
        assert.match(error.hint!, /keygen -y/);
        const shown = JSON.stringify([error.message, error.hint, error.stack, error.cause]).toUpperCase();
        assert.ok(!shown.includes(secret.trim().slice(-12).toUpperCase()));
        return true;
      },
    );
});

test('what is malformed is refused with its line', () => {
  const key = native.recipient.toString();
  for (const [line, state] of [
    [key.slice(0, -1), /age1… key/],
    [`${key}x`, /age1… key/],
    [key.toUpperCase(), /neither/],
    [key.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q')), /age1… key/],
    ['nonsense', /neither/],
    [` ${key}`, /neither/],
    ['ssh-ed25519 AAAA', /line 1/],
    ['age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t', /no plugins are run here/],
    ['y'.repeat(9000), /8 KiB/],
  ] as const)
    assert.throws(() => parse(line), { code: 'bad-key', message: state }, line);
  assert.throws(() => parse(''), { code: 'bad-key', message: /no recipient/ });
  assert.throws(() => parse('# nothing\n'), { code: 'bad-key', message: /no recipient/ });
  assert.throws(() => parse(Buffer.from([0xff, 0xfe, 0x61])), { code: 'bad-key', message: /UTF-8/ });
  assert.throws(() => parse(new Uint8Array(16 * 1024 * 1024 + 1)), { code: 'bad-key', message: /16 MiB/ });
});

test('an SSH key of a type that cannot encrypt is passed over with a warning', () => {
  const { recipients, warnings } = parse(`${sshEcdsa}\n${native.recipient.toString()}\n`);
  assert.equal(recipients.length, 1);
  assert.match(warnings.join(), /line 1/);
  assert.throws(() => parse(sshEcdsa), { code: 'bad-key', message: /no recipient/ });
});

test('a single recipient', () => {
  assert.equal(textOf(parseRecipient(native.recipient.toString())), native.recipient.toString());
  assert.ok(parseRecipient(sshEd25519));
});
