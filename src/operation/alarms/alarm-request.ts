import { SalvageError } from '../../errors/salvage-error.ts';
import { firstLine, stepReportJson, stepText, stepTitle, type StepReport } from '../records/step-report.ts';
import type { Webhook } from './alarm-settings.ts';
import { fillTemplate } from './fill-template.ts';

/** A POST, ready to be sent. */
export interface AlarmRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const json = { 'content-type': 'application/json' };

/** @throws usage if URL or template cannot be used; the message does not quote the URL */
export function webhookRequest(
  { kind, headers = {}, template }: Pick<Webhook, 'kind' | 'headers' | 'template'>,
  address: string,
  token: string | undefined,
  report: StepReport,
): AlarmRequest {
  const given = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const url = parseAddress(address);
  const title = stepTitle(report);
  const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
  switch (kind) {
    case 'slack':
      return {
        url,
        headers: { ...json, ...bearer, ...given },
        body: JSON.stringify({ text: escapeForSlack(`*${title}*\n${stepText(report)}`) }),
      };
    case 'ntfy':
      return {
        url,
        headers: {
          'content-type': 'text/plain; charset=utf-8',
          // A header holds ASCII.
          title: title.replace(/[^\x20-\x7e]/g, '?'),
          priority: { success: 'default', warning: 'default', failure: 'high' }[report.outcome],
          tags: { success: 'white_check_mark', warning: 'warning', failure: 'rotating_light' }[
            report.outcome
          ],
          ...bearer,
          ...given,
        },
        body: stepText(report),
      };
    case 'gotify':
      return {
        url: url.pathname.endsWith('/message') ? url : below(url, 'message'),
        headers: { ...json, ...(token === undefined ? {} : { 'x-gotify-key': token }), ...given },
        body: JSON.stringify({
          title,
          message: stepText(report),
          priority: { success: 2, warning: 5, failure: 8 }[report.outcome],
        }),
      };
    case 'generic': {
      const all = { ...json, ...bearer, ...given };
      return {
        url,
        headers: all,
        body:
          template === undefined
            ? JSON.stringify({ title, ...stepReportJson(report) })
            : fillTemplate(template, all['content-type'], report),
      };
    }
  }
}

/** A step that is done with warnings is done: the switch asks whether it still happens. @throws usage */
export function pingRequest(
  address: string,
  moment: 'start' | 'success' | 'failure',
  text: string,
): AlarmRequest {
  const url = parseAddress(address);
  const suffix = { start: 'start', success: undefined, failure: 'fail' }[moment];
  return {
    url: suffix === undefined ? url : below(url, suffix),
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: text,
  };
}

function parseAddress(address: string): URL {
  const url = URL.parse(address.trim());
  if (url && ['http:', 'https:'].includes(url.protocol) && url.username === '' && url.password === '')
    return url;
  throw new SalvageError(
    'usage',
    'Cannot use the URL of the alarm: it is not http(s)://host/… without a password',
    {
      hint: 'Give the password as token = { file = "…" }.',
    },
  );
}

function below(url: URL, name: string): URL {
  const deeper = new URL(url);
  deeper.pathname = `${url.pathname.replace(/\/+$/, '')}/${name}`;
  return deeper;
}

/** So that no name of a file becomes a link, or calls everybody: https://api.slack.com/reference/surfaces/formatting */
function escapeForSlack(text: string): string {
  return text
    .split('\n')
    .map(firstLine)
    .join('\n')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
