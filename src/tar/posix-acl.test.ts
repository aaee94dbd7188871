import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAcl, modeWithAcl, parseAcl } from './posix-acl.ts';

const attribute = Buffer.from(
  '0200000001000600ffffffff02000700e803000004000400ffffffff080004000100000010000700ffffffff20000400ffffffff',
  'hex',
);
const text = 'user::rw-,user:1000:rwx,group::r--,group:1:r--,mask::rwx,other::r--';
const lookUp = (kind: string, name: string): number | undefined =>
  kind === 'user' && name === 'ada' ? 1000 : kind === 'group' && name === 'daemon' ? 1 : undefined;

test('attribute and text are the same thing', () => {
  assert.equal(formatAcl(attribute), text);
  assert.deepEqual(parseAcl(text, lookUp), attribute);
});

test('the texts of star, GNU tar and bsdtar', () => {
  const texts = [
    'user::rw-\nuser:ada:rwx\ngroup::r--\ngroup:daemon:r--\nmask::rwx\nother::r--\n',
    'user::rw-,user:ada:rwx:4711,group::r--,group:daemon:r--:1,mask::rwx,other::r--',
    'user::rw-,user:stranger:rwx:1000,group::r--,group:else:r--:1,mask::rwx,other::r--',
    'u::rw-,u:1000:rwx,g::r--,g:1:r--,mask:rwx,other:r--',
    'other::r--,user::rw-,mask::rwx,user:ada:rwx #effective:rwx\ngroup::r--,group:1:r--',
  ];
  for (const variant of texts) assert.deepEqual(parseAcl(variant, lookUp), attribute, variant);
});

test('the mask stands in the mode', () => {
  assert.equal(modeWithAcl(0o4644, attribute), 0o4674);
  assert.equal(modeWithAcl(0o640, Buffer.alloc(4)), 0o640);
});

test('what is no ACL', () => {
  for (const bad of ['', 'user', 'user::rq-', 'nobody::rwx', 'user:stranger:rwx', 'user::', 'mask:1:rwx']) {
    assert.equal(parseAcl(bad, lookUp), undefined, bad);
  }
  for (const bad of ['', '02000000ff', '0300000001000600ffffffff', '0200000003000600ffffffff']) {
    assert.equal(formatAcl(Buffer.from(bad, 'hex')), bad === '02000000' ? '' : undefined, bad);
  }
});
