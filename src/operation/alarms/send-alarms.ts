import type { Clock } from '../../clock/clock.ts';
import type { Sleep } from '../../clock/sleep.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { stepText, stepTitle, type Step, type StepReport } from '../records/step-report.ts';
import { pingRequest, webhookRequest } from './alarm-request.ts';
import type { AlarmSettings, Email, Ping, Webhook } from './alarm-settings.ts';
import { postRequest } from './post-request.ts';
import { composeMail, sendEmail } from './send-email.ts';
import { AttemptFailed, tryAgain } from './try-again.ts';

export interface AlarmSurroundings {
  readonly clock: Clock;
  readonly sleep: Sleep;
  /** For the sendmail program. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Tells the dead man's switches that the step begins. Never throws, but for the signal's reason.
 * @returns a line for each alarm that could not be given: to be reported, and nothing more
 */
export async function sendStartPings(
  { pings }: AlarmSettings,
  step: Step,
  surroundings: AlarmSurroundings,
  signal?: AbortSignal,
): Promise<string[]> {
  const text = `${step.kind} of ${step.name} on ${step.host} begins`;
  const meant = pings.filter((ping) => ping.on.includes('start') && isFor(ping, step));
  return troublesOf(meant.map((ping) => () => sendPing(ping, 'start', text, surroundings, signal)));
}

/**
 * Gives every alarm that the configuration wants for a step that ended like this, also one that could not begin: all at once,
 * each tried again until it is heard. An interrupted run is told of as well, so give no signal that is aborted already.
 * Never throws, but for the signal's reason.
 * @returns a line for each alarm that could not be given: to be reported, and nothing more
 */
export async function sendAlarms(
  { webhooks, emails, pings }: AlarmSettings,
  report: StepReport,
  surroundings: AlarmSurroundings,
  signal?: AbortSignal,
): Promise<string[]> {
  const moment = report.outcome === 'failure' ? 'failure' : 'success';
  const text = `${stepTitle(report)}\n${stepText(report)}`;
  return troublesOf([
    ...pings
      .filter((ping) => ping.on.includes(moment) && isFor(ping, report))
      .map((ping) => () => sendPing(ping, moment, text, surroundings, signal)),
    ...webhooks
      .filter((webhook) => webhook.on.includes(report.outcome) && isFor(webhook, report))
      .map((webhook) => () => sendWebhook(webhook, report, surroundings, signal)),
    ...emails
      .filter((email) => email.on.includes(report.outcome) && isFor(email, report))
      .map((email) => () => sendOneEmail(email, report, surroundings, signal)),
  ]);
}

function isFor(
  { names }: { readonly names?: readonly string[] | undefined },
  { name, repository }: Step,
): boolean {
  return names?.some((candidate) => candidate === name || candidate === repository) ?? true;
}

async function troublesOf(sendings: readonly (() => Promise<string | undefined>)[]): Promise<string[]> {
  const troubles = await Promise.all(sendings.map((send) => send()));
  return troubles.filter((trouble) => trouble !== undefined);
}

async function sendPing(
  { url, timeoutMs, attempts }: Ping,
  moment: 'start' | 'success' | 'failure',
  text: string,
  { sleep }: AlarmSurroundings,
  signal?: AbortSignal,
): Promise<string | undefined> {
  return reported('ping', async (found) => {
    const request = pingRequest(await url(), moment, text);
    found(request.url.host);
    await tryAgain(attempts, () => postRequest(request, timeoutMs, signal), sleep, signal);
  });
}

async function sendWebhook(
  webhook: Webhook,
  report: StepReport,
  { sleep }: AlarmSurroundings,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const { kind, url, token, timeoutMs, attempts } = webhook;
  return reported(`webhook (${kind})`, async (found) => {
    const request = webhookRequest(webhook, await url(), (await token?.())?.trim(), report);
    found(request.url.host);
    await tryAgain(attempts, () => postRequest(request, timeoutMs, signal), sleep, signal);
  });
}

async function sendOneEmail(
  email: Email,
  report: StepReport,
  { clock, sleep, env }: AlarmSurroundings,
  signal?: AbortSignal,
): Promise<string | undefined> {
  return reported('e-mail', async (found) => {
    found(email.smtp === undefined ? email.sendmail : new URL(email.smtp).host);
    const mail = composeMail(email, report, clock);
    await tryAgain(email.attempts, () => sendEmail(email, mail, env, signal), sleep, signal);
  });
}

/** Says whom an alarm did not reach, and why: never by more of a URL than the host, for the rest of it may be a secret. */
async function reported(
  what: string,
  send: (found: (place: string) => void) => Promise<void>,
): Promise<string | undefined> {
  let place: string | undefined;
  try {
    await send((known) => {
      place = known;
    });
    return undefined;
  } catch (error) {
    if (error instanceof SalvageError && error.code === 'interrupted') throw error;
    const to = place === undefined ? '' : ` by ${place}`;
    if (error instanceof AttemptFailed || error instanceof SalvageError)
      return `The alarm by ${what} was not given${to}: ${error.message}`;
    // Whatever it is, a backup does not fail by it; and it may quote what it was given.
    return `The alarm by ${what} was not given${to}: ${(error as Error).name}`;
  }
}
