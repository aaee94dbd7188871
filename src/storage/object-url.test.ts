import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObjectUrl } from './object-url.ts';

test('the last part of a URL is the name of the object', () => {
  for (const [url, storage, name] of [
    ['s3://bucket/prefix/a.age', 's3://bucket/prefix', 'a.age'],
    ['s3://bucket/a.age', 's3://bucket/', 'a.age'],
    ['s3://bucket', 's3://bucket', ''],
    ['s3://bucket/x/a.age?endpoint=http://h:1/p', 's3://bucket/x?endpoint=http://h:1/p', 'a.age'],
    ['sftp://u@h:22/a/b/c.age', 'sftp://u@h:22/a/b', 'c.age'],
    ['sftp://h/c.age', 'sftp://h/', 'c.age'],
    ['sftp://h//c.age', 'sftp://h//', 'c.age'],
    ['sftp://h//srv/c.age', 'sftp://h//srv', 'c.age'],
    ['sftp://h/a/', 'sftp://h/a', ''],
    ['ssh://u@h/c.age', 'ssh://u@h/', 'c.age'],
    ['file:///srv/c.age', 'file:///srv', 'c.age'],
    ['rclone:remote:c.age', 'rclone:remote:', 'c.age'],
    ['rclone:remote:a/b/c.age', 'rclone:remote:a/b', 'c.age'],
    ['rclone::local:/srv/c.age', 'rclone::local:/srv', 'c.age'],
    ['RCLONE:remote:a/', 'RCLONE:remote:a', ''],
  ])
    assert.deepEqual(parseObjectUrl(url!), { storage, name }, url);
});

test('what is no URL of a storage is a path', () => {
  for (const path of ['a.age', '/srv/a.age', './s3:/x', 'host:a.age', 'https://host/a.age', '-', 'C:\\a.age'])
    assert.equal(parseObjectUrl(path), undefined, path);
});
