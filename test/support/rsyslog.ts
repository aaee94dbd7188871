// A real rsyslogd that listens on a socket of its own.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/** A TestContext, or `{ after }` of node:test in the body of a suite. */
interface Lifetime {
  after(callback: () => void): void;
}

export interface Rsyslog {
  /** As /dev/log is on a machine with rsyslog. */
  readonly socket: string;
  /** Resolves to the first line that it wrote and that holds the text: `facility.severity tag message`. */
  line(text: string): Promise<string>;
}

/** Starts it in the foreground; it is ended with the test. */
export async function startRsyslog(lifetime: Lifetime, folder: string): Promise<Rsyslog> {
  const socket = join(folder, 'log.sock');
  const output = join(folder, 'syslog.txt');
  const configuration = join(folder, 'rsyslog.conf');
  writeFileSync(
    configuration,
    `global(workDirectory="${folder}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="${socket}" CreatePath="off")
template(name="line" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname% %procid% %msg%\\n")
action(type="omfile" file="${output}" template="line")
`,
  );
  const child = spawn('/usr/sbin/rsyslogd', ['-n', '-f', configuration, '-i', join(folder, 'rsyslog.pid')], {
    stdio: 'ignore',
  });
  lifetime.after(() => {
    child.kill('SIGKILL');
    rmSync(socket, { force: true });
  });
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (child.exitCode !== null) throw new Error(`rsyslogd has ended with ${child.exitCode}`);
      await setTimeout(20);
    }
  };
  await until(() => (existsSync(socket) ? true : undefined));
  return {
    socket,
    line: (text) =>
      until(() =>
        existsSync(output)
          ? readFileSync(output, 'utf8')
              .split('\n')
              .slice(0, -1)
              .find((line) => line.includes(text))
          : undefined,
      ),
  };
}
