import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSettings } from './check-settings.ts';
import { SettingsTree } from './settings-tree.ts';

/** Each finding as `line: message`. */
function findings(text: string): string[] {
  const tree = new SettingsTree();
  tree.add(`[repositories.main]\nurl = "repo"\n[jobs.web]\npaths = ["/etc"]\n${text}`, 'salvage.toml');
  const checked = checkSettings(tree);
  if (!Array.isArray(checked)) return [];
  return checked.map(({ place, message, nearest }) =>
    [`${place?.line}: ${message}`, ...(nearest === undefined ? [] : [nearest])].join(' -> '),
  );
}

test('hooks and alarms are for names that there are', () => {
  assert.deepEqual(findings('[[hooks]]\non = ["after"]\ncommand = "x"\nnames = ["web", "main"]\n'), []);
  assert.deepEqual(findings('[[hooks]]\non = ["after"]\ncommand = "x"\nnames = ["wep"]\n'), [
    '8: there is no job, copy or repository "wep" -> web',
  ]);
  assert.deepEqual(findings('[[notify.pings]]\nurl = "http://a"\nnames = ["other"]\n'), [
    '7: there is no job, copy or repository "other"',
  ]);
});

test('a template can be filled in, and belongs to a generic webhook', () => {
  const webhook = (kind: string, template: string): string[] =>
    findings(`[[notify.webhooks]]\nurl = "http://a"\nkind = "${kind}"\ntemplate = '${template}'\n`);
  assert.deepEqual(webhook('generic', '{"text":"{{message}}"}'), []);
  assert.deepEqual(webhook('generic', '{{password}}'), [
    '8: the template cannot be filled in: there is no place {{password}}',
  ]);
  assert.deepEqual(webhook('slack', '{{message}}'), ['8: "template" does not go with "slack"']);
});

test('who logs in to send mail has a password, and a server', () => {
  const email = (more: string): string[] =>
    findings(`[[notify.emails]]\nfrom = "a@b"\nto = ["c@d"]\n${more}\n`);
  assert.deepEqual(email(''), []);
  assert.deepEqual(email('smtp = "smtp://mail"\nusername = "u"\npassword = { file = "f" }'), []);
  assert.equal(email('smtp = "smtp://mail"\nusername = "u"').length, 1);
  assert.equal(email('username = "u"\npassword = { file = "f" }').length, 1);
  assert.deepEqual(email('smtp = "smtp://mail:99999"'), ['8: "smtp" is no URL']);
});
