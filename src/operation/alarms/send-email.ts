import type { Clock } from '../../clock/clock.ts';
import { randomBytes } from '../../clock/random.ts';
import { toHex } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { runProgram } from '../program/run-program.ts';
import { firstLine, stepText, stepTitle, type StepReport } from '../records/step-report.ts';
import type { Email } from './alarm-settings.ts';
import { AttemptFailed } from './try-again.ts';

export interface Mail {
  readonly from: string;
  readonly to: string[];
  readonly subject: string;
  readonly text: string;
  readonly date: Date;
  readonly messageId: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The same for every attempt: a mail that arrives twice is then seen to be one. */
export function composeMail({ from, to }: Email, report: StepReport, clock: Clock): Mail {
  return {
    from,
    to: [...to],
    subject: `[salvage] ${stepTitle(report)}`,
    text: `${stepText(report)}\n`,
    date: clock.now(),
    messageId: `<${toHex(randomBytes(16))}@salvage.invalid>`,
    headers: { 'Auto-Submitted': 'auto-generated' },
  };
}

/** @throws AttemptFailed, and SalvageError 'usage' or what the source of the password throws */
export async function sendEmail(
  { smtp, username, password, sendmail, timeoutMs }: Email,
  mail: Mail,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (smtp === undefined) return handToSendmail(sendmail, mail, env, timeoutMs, signal);
  const { hostname, port, protocol } = new URL(smtp);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const isHere = /^(?:localhost|127(?:\.\d+){3}|::1)$/.test(host);
  if (username !== undefined && !password)
    throw new SalvageError('usage', 'Cannot log in to send mail: there is a username and no password');
  const { createTransport } = await import('nodemailer');
  const transport = createTransport({
    host,
    port: port === '' ? (protocol === 'smtps:' ? 465 : 587) : Number(port),
    secure: protocol === 'smtps:',
    requireTLS: protocol === 'smtp:' && !isHere,
    tls: { rejectUnauthorized: !isHere },
    auth: username === undefined ? undefined : { user: username, pass: await password!() },
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    dnsTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const close = (): void => transport.close();
  signal?.addEventListener('abort', close, { once: true });
  try {
    await withinTime(transport.sendMail(mail), timeoutMs, close);
  } catch (error) {
    signal?.throwIfAborted();
    throw smtpFailure(error);
  } finally {
    signal?.removeEventListener('abort', close);
    close();
  }
}

/** Its own limits are for each silence; ours is for the whole. */
async function withinTime(sending: Promise<unknown>, timeoutMs: number, close: () => void): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new AttemptFailed(`no end within ${timeoutMs / 1000} seconds`, true));
    close();
  }, timeoutMs);
  sending.catch(() => {});
  try {
    await Promise.race([sending, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface NodemailerError extends Error {
  readonly code?: string;
  readonly responseCode?: number;
}

/** What a server answers may quote what it was sent, a password among it: only the number is told. */
function smtpFailure(error: unknown): Error {
  if (error instanceof AttemptFailed) return error;
  const { code = 'unknown', responseCode, message } = error as NodemailerError;
  // The words of Node's sockets, and of TLS: no server has a hand in them.
  if (code === 'ESOCKET')
    return new AttemptFailed(`the connection failed (${firstLine(message.split(';', 1)[0]!)})`, true);
  if (responseCode === undefined || code === 'ETLS')
    return new AttemptFailed(
      reasons[code] ?? code,
      !['EAUTH', 'EENVELOPE', 'ENOAUTH', 'ETLS'].includes(code),
    );
  const what = code === 'EAUTH' ? 'it does not accept username and password' : 'it refused the mail';
  return new AttemptFailed(`${what} (${responseCode})`, responseCode < 500);
}

const reasons: Readonly<Record<string, string>> = {
  ETLS: 'it offers no TLS that can be trusted',
  ECONNECTION: 'the connection failed',
  ETIMEDOUT: 'it does not answer',
  EDNS: 'its name cannot be found',
  EAUTH: 'it does not accept username and password',
  EENVELOPE: 'it does not accept sender or recipient',
};

async function handToSendmail(
  program: string,
  mail: Mail,
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { createTransport } = await import('nodemailer');
  const composer = createTransport({ streamTransport: true, buffer: true, newline: 'unix' });
  const { message } = await composer.sendMail(mail);
  // -t: recipients from the headers. -i: a line with a single dot is no end. What else there is differs between programs.
  const { trouble } = await runProgram(
    { program, args: ['-t', '-i'], env, input: message as Buffer, timeoutMs },
    signal,
  );
  if (trouble !== undefined)
    throw new AttemptFailed(`the program ${trouble}`, !/could not be started/.test(trouble));
}
