// A strict reader of Prometheus' text format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/),
// that also demands what `promtool check metrics` does: help, types, names and units.
import assert from 'node:assert/strict';

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const name = '[a-z][a-z0-9_]*';
const number = String.raw`[-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|Inf)|NaN`;
const forbiddenUnits = /_(?:milliseconds|ms|kilobytes|kb|minutes|hours|days)(?:_|$)/;

/** Families by name. @throws AssertionError with the line that is wrong */
export function parsePrometheusText(text: string): Map<string, Family> {
  assert.ok(text.endsWith('\n') && !text.includes('\r'), 'ends with a line feed');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let current: { name: string; help: string; family?: Family } | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, helped, help] = new RegExp(`^# HELP (${name}) (\\S.*)$`).exec(line) ?? [];
    if (helped !== undefined) {
      assert.ok(!families.has(helped), `a family is in one place: ${line}`);
      assert.ok(!forbiddenUnits.test(helped), `base units: ${line}`);
      current = { name: helped, help: help! };
      continue;
    }
    const [, typed, type] = new RegExp(`^# TYPE (${name}) (counter|gauge)$`).exec(line) ?? [];
    if (typed !== undefined) {
      assert.equal(typed, current?.name, line);
      assert.equal(type === 'counter', typed.endsWith('_total'), `only counters end in _total: ${line}`);
      current!.family = { type: type!, help: current!.help, samples: [] };
      families.set(typed, current!.family);
      continue;
    }
    const [, sampled, labelText = '', value] =
      new RegExp(`^(${name})(?:\\{(.*)\\})? (${number})$`).exec(line) ?? [];
    assert.ok(sampled !== undefined, `a line of the format: ${line}`);
    assert.equal(sampled, current?.name, `help and type come first: ${line}`);
    const labels = parseLabels(labelText);
    const key = `${sampled}${JSON.stringify(labels)}`;
    assert.ok(!seen.has(key), `each sample once: ${line}`);
    seen.add(key);
    current!.family!.samples.push({ labels, value: Number(value) });
  }
  for (const [family, { samples }] of families) assert.ok(samples.length > 0, `${family} has samples`);
  return families;
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const [whole, label, value] = /^([a-z_][a-z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(?:,(?=.)|$)/.exec(rest) ?? [];
    assert.ok(whole !== undefined, `labels: ${text}`);
    assert.ok(!Object.hasOwn(labels, label!), `each label once: ${text}`);
    labels[label!] = value!.replace(/\\([\\"n])/g, (_, escaped: string) =>
      escaped === 'n' ? '\n' : escaped,
    );
    rest = rest.slice(whole.length);
  }
  return labels;
}
