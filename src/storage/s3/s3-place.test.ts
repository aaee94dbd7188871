import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SalvageError } from '../../errors/salvage-error.ts';
import { parseS3Url } from './s3-place.ts';

test('an s3:// URL names bucket, prefix and server', () => {
  const usual = parseS3Url('s3://bucket');
  assert.equal(usual.bucket, 'bucket');
  assert.equal(usual.prefix, '');
  assert.equal(usual.endpoint, undefined);
  assert.equal(usual.pathStyle, undefined);
  assert.equal(usual.checksums, 'sha256');
  assert.equal(usual.partBytes, 16 * 1024 * 1024);
  assert.equal(parseS3Url('s3://bucket/').prefix, '');
  assert.equal(parseS3Url('s3://bucket/a//b/').prefix, 'a/b/');
  const full = parseS3Url(
    's3://my.bucket-1/hosts/web-1?endpoint=https://s3.example:9000&region=eu-1&path-style=false&profile=backup&ca=/etc/ca.pem&checksums=md5&part-size=64M',
  );
  assert.deepEqual(full, {
    bucket: 'my.bucket-1',
    prefix: 'hosts/web-1/',
    endpoint: 'https://s3.example:9000',
    region: 'eu-1',
    pathStyle: false,
    profile: 'backup',
    caFile: '/etc/ca.pem',
    checksums: 'md5',
    partBytes: 64 * 1024 * 1024,
  });
});

test('what is no s3:// URL is refused, and never shown where it may hold a secret', () => {
  for (const url of [
    's3://',
    's3:///prefix',
    's3://a',
    's3://bucket_1',
    's3://bucket:80/x',
    's3://bucket/../x',
    's3://bucket/.hidden',
    's3://bucket/a b',
    `s3://bucket/${'x'.repeat(513)}`,
    's3://bucket/x?unknown=1',
    's3://bucket/x?region=a&region=b',
    's3://bucket/x?endpoint=ftp://host',
    's3://bucket/x?endpoint=host:80',
    's3://bucket/x?endpoint=https://user:secret@host',
    's3://bucket/x?path-style=yes',
    's3://bucket/x?checksums=crc32',
    's3://bucket/x?part-size=4M',
    's3://bucket/x?part-size=2000M',
    's3://AKIAEXAMPLE:secret@bucket/x',
    's3://bucket/x?secret-access-key=secret',
  ])
    assert.throws(
      () => parseS3Url(url),
      (error) =>
        error instanceof SalvageError &&
        error.code === 'usage' &&
        !/secret(?!s)/.test(error.message.replace('secret-access-key', '')),
      url,
    );
});
