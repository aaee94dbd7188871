import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextTime, parseCalendar } from './calendar.ts';

const after = new Date(2026, 10, 23, 13, 30);

function next(text: string, from: Date = after): string {
  const calendar = parseCalendar(text);
  assert.ok(calendar, text);
  const time = nextTime(calendar, from);
  const two = (number: number): string => String(number).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

test('the next time is the first after a time, not that time itself', () => {
  assert.equal(next('hourly'), '2026-11-23 14:00');
  assert.equal(next('daily'), '2026-11-24 00:00');
  assert.equal(next('weekly'), '2026-11-30 00:00');
  assert.equal(next('monthly'), '2026-12-01 00:00');
  assert.equal(next('13:30'), '2026-11-24 13:30');
  assert.equal(next('13:31'), '2026-11-23 13:31');
  assert.equal(next('*:00/15'), '2026-11-23 13:45');
  assert.equal(next('0/6:05'), '2026-11-23 18:05');
  assert.equal(next('9..17/4:00'), '2026-11-23 17:00');
  assert.equal(next('Sun 04:00'), '2026-11-29 04:00');
  assert.equal(next('mon..fri 02:30'), '2026-11-24 02:30');
  assert.equal(next('Saturday,Mon 02:30'), '2026-11-28 02:30');
  assert.equal(next('*-*-01,15 04:00'), '2026-12-01 04:00');
  assert.equal(next('Sun *-*-1..7 04:00'), '2026-12-06 04:00');
  assert.equal(next('*-*-31 00:00', new Date(2027, 0, 31)), '2027-03-31 00:00');
  assert.equal(next('Mon *-*-29 00:00', new Date(2026, 1, 1)), '2026-06-29 00:00');
});

test('what is no such time is none', () => {
  for (const text of [
    '',
    'often',
    'Daily ',
    '24:00',
    '02:60',
    '2:3:4',
    '*-*-0 02:30',
    '*-*-32 02:30',
    '2026-01-01 02:30',
    'Fri..Mon 02:30',
    'Mo 02:30',
    '*/15:00',
    '1..:00',
    '5..1:00',
    '0/0:00',
    '23/1:00',
    ',:00',
    '02:30,',
    '__proto__',
    'constructor',
  ])
    assert.equal(parseCalendar(text), undefined, text);
});
