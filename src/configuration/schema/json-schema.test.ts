import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configurationJsonSchema } from '../../../tools/json-schema.ts';
import { readJsonSchema } from './json-schema.ts';

test('the JSON Schema is up to date: node tools/json-schema.ts writes it', () => {
  assert.equal(readJsonSchema(), configurationJsonSchema());
});

test('it knows the keys and their forms', () => {
  const { properties, additionalProperties } = JSON.parse(readJsonSchema());
  assert.equal(additionalProperties, false);
  const job = properties.jobs.additionalProperties.properties;
  assert.match(job.schedule.description, /systemd\.time/);
  assert.equal(job.schedule.default, 'daily');
  assert.deepEqual(properties.notify.properties.webhooks.items.required, ['url', 'kind']);
});
