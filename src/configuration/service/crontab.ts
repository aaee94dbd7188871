import { hash } from 'node:crypto';
import { servicePath, wakeMinutes, type ServicePlan } from './service-plan.ts';

/**
 * The lines of a crontab(5) between which nothing but ours stands. It wakes salvage every quarter of an hour, at minutes that
 * differ from host to host; the run itself knows what is due, and catches up what was missed.
 */
export function crontabBlock({ name, command, environment, nice }: ServicePlan, host: string): string {
  const first = hash('sha256', `${host} ${name}`, 'buffer').readUInt32BE(0) % wakeMinutes;
  const minutes = Array.from({ length: 60 / wakeMinutes }, (_, at) => first + at * wakeMinutes).join(',');
  const variables = Object.entries({ PATH: servicePath, ...environment });
  const words = [
    'env',
    ...variables.map(([key, value]) => quote(`${key}=${value}`)),
    'nice',
    '-n',
    String(nice),
    ...command.map(quote),
    '-q',
  ];
  // To cron a percent sign is the end of the line, in quotes too.
  const line = words.join(' ').replaceAll('%', '\\%');
  return [begin(name), `${minutes} * * * * ${line}`, end(name), ''].join('\n');
}

/** The crontab with this block in place of the one that has its name, or at the end. An empty block takes it away. */
export function replaceBlock(crontab: string, name: string, block: string): string {
  const lines = crontab === '' ? [] : crontab.replace(/\n$/, '').split('\n');
  const to = lines.indexOf(end(name));
  const from = to < 0 ? -1 : lines.lastIndexOf(begin(name), to);
  const kept = from < 0 ? lines : [...lines.slice(0, from), ...lines.slice(to + 1)];
  const others = kept.length === 0 ? '' : `${kept.join('\n')}\n`;
  return `${others}${block}`;
}

export function hasBlock(crontab: string, name: string): boolean {
  return replaceBlock(crontab, name, '') !== replaceBlock(crontab, '', '');
}

function begin(name: string): string {
  return `# BEGIN ${name}: written by "salvage schedule install", leave it as it is`;
}

function end(name: string): string {
  return `# END ${name}`;
}

function quote(word: string): string {
  return /^[\w@+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
