import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AccountNames } from './account-names.ts';

describe('AccountNames', () => {
  const names = new AccountNames();

  it('knows root by number and by name', () => {
    for (let times = 0; times < 2; times++) {
      assert.equal(names.userName(0), 'root');
      assert.equal(names.groupName(0), 'root');
      assert.equal(names.userId('root'), 0);
      assert.equal(names.groupId('root'), 0);
    }
  });

  it('knows others, each by its own', () => {
    assert.equal(names.userId(names.userName(1)), 1);
    assert.equal(names.groupId(names.groupName(2)), 2);
  });

  it('has nothing for numbers and names that nobody has', () => {
    assert.equal(names.userName(3_000_000_000), '');
    assert.equal(names.groupName(3_000_000_000), '');
    for (const name of ['', 'nobody-has-this-name', 'root\0', 'n'.repeat(100_000), 'ü'])
      assert.equal(names.userId(name) ?? names.groupId(name), undefined);
  });
});
