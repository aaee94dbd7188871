// A throw-away sshd on the loopback interface, with keys, configuration and folders of its own: the real peer of whatever
// goes over SSH. One account per server; start as many servers as there are accounts.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { freePort } from './free-port.ts';

const sshdProgram = '/usr/sbin/sshd';
/** A user of every Linux who owns nothing: the account of a server that confines. */
const confinedUser = 'nobody';

/** Pass as the `skip` option of a test with a confined account: chroot is for root. */
export const needsRoot: { skip: string | false } = {
  skip: process.getuid?.() === 0 ? false : 'not root',
};

export interface SshdOptions {
  /**
   * Without it: the account of the user who runs the test, with a shell; sftp starts in `folder`. With it: the account
   * `nobody`, locked into a folder by chroot, with nothing but internal-sftp, to which these arguments are added. Needs root.
   */
  readonly confined?: { readonly sftpArguments: string };
  /** As a jump host must. */
  readonly forwards?: boolean;
  /** Further lines of sshd_config. */
  readonly config?: string;
  /** In another network namespace than this process: its address there, and the command that enters it. */
  readonly network?: { readonly host: string; readonly enter: readonly string[] };
}

/** A TestContext, or `{ after }` of node:test in the body of a suite. */
interface Lifetime {
  after(callback: () => Promise<void>): void;
}

/** The key file of a client, and the ssh command that uses it. */
export interface SshClient {
  readonly keyFile: string;
  /** For --ssh-command, SALVAGE_SSH, `rsync -e`: nothing of the user's own configuration takes part. */
  readonly sshCommand: string;
}

export class TestSshd {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly uid: number;
  /** Where sftp starts, as a path on this machine. */
  readonly folder: string;
  /** The client whose key is accepted without conditions. */
  readonly client: SshClient;
  readonly #home: string;
  readonly #enter: readonly string[];
  #child: ChildProcess | undefined;

  /** Use `startSshd`. */
  constructor(home: string, port: number, options: SshdOptions) {
    this.#home = home;
    this.#enter = options.network?.enter ?? [];
    this.host = options.network?.host ?? '127.0.0.1';
    this.port = port;
    const { confined } = options;
    this.user = confined ? confinedUser : userInfo().username;
    this.uid = idsOf(this.user)[0];
    this.folder = join(home, 'chroot', 'data');
    for (const name of ['keys', 'authorized']) mkdirSync(join(home, name), { mode: 0o755 });
    mkdirSync(this.folder, { recursive: true, mode: 0o755 });
    if (confined) chownSync(this.folder, ...idsOf(confinedUser));
    generateKey(join(home, 'keys', 'host'));
    const hostKey = readFileSync(join(home, 'keys', 'host.pub'), 'utf8');
    writeFileSync(join(home, 'known_hosts'), `[${this.host}]:${port} ${hostKey}`);
    writeFileSync(join(home, 'sshd_config'), this.#configuration(options));
    writeFileSync(join(home, 'authorized', this.user), '', { mode: 0o644 });
    this.client = this.addClient('client');
  }

  /** `sftp://` and the path relative to `folder`. */
  url(path: string): string {
    return `sftp://${this.user}@${this.host}:${this.port}/${path}`;
  }

  /** Makes a key pair and accepts it, with options as in authorized_keys: `command="…",restrict`. */
  addClient(name: string, options = ''): SshClient {
    const keyFile = join(this.#home, 'keys', name);
    const publicKey = generateKey(keyFile);
    const authorized = join(this.#home, 'authorized', this.user);
    writeFileSync(authorized, `${options} ${publicKey}`.trimStart(), { flag: 'a' });
    const config = join(this.#home, `ssh_config-${name}`);
    writeFileSync(
      config,
      [
        `IdentityFile ${keyFile}`,
        'IdentitiesOnly yes',
        'IdentityAgent none',
        `UserKnownHostsFile ${join(this.#home, 'known_hosts')}`,
        'GlobalKnownHostsFile /dev/null',
        'StrictHostKeyChecking yes',
        'BatchMode yes',
        '',
      ].join('\n'),
    );
    return { keyFile, sshCommand: `ssh -F ${config}` };
  }

  /** A client whose ssh programs share one connection, which saves them the handshake: for tests that start many. */
  async sharedClient(): Promise<SshClient> {
    const { keyFile, sshCommand } = this.client;
    const socket = join(this.#home, 'shared');
    const [program, ...args] = sshCommand.split(' ');
    const child = spawn(
      program!,
      [...args, '-M', '-N', '-S', socket, '-p', String(this.port), `${this.user}@${this.host}`],
      { stdio: 'ignore' },
    );
    while (!existsSync(socket)) {
      if (child.exitCode !== null) throw new Error(`ssh ended: ${this.log()}`);
      await setTimeout(10);
    }
    return { keyFile, sshCommand: `${sshCommand} -S ${socket}` };
  }

  /** Starts the server, again after `kill`. Resolves when it answers. */
  async start(): Promise<void> {
    const log = join(this.#home, 'sshd.log');
    if (this.#enter.length > 0) rmSync(log, { force: true });
    const [program, ...args] = [...this.#enter, sshdProgram, '-D', '-f', join(this.#home, 'sshd_config')];
    this.#child = spawn(program!, [...args, '-E', log], { stdio: 'ignore', detached: true });
    const child = this.#child;
    while (!(await this.#isListening())) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`sshd ended: ${this.log()}`);
      await setTimeout(10);
    }
  }

  /** Kills the server and every connection that it serves. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    const ended = once(child, 'exit');
    const isOver = child.exitCode !== null || child.signalCode !== null;
    // It takes no connection any more while those that there are are looked for.
    signalProcess(child.pid!, 'SIGSTOP');
    for (const pid of [...descendants(child.pid!), child.pid!]) signalProcess(pid, 'SIGKILL');
    if (!isOver) await ended;
  }

  /** Kills the connections that are open now; the server goes on. */
  cutConnections(): void {
    if (this.#child) for (const pid of descendants(this.#child.pid!)) signalProcess(pid, 'SIGKILL');
  }

  log(): string {
    const path = join(this.#home, 'sshd.log');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Ends everything and removes all folders. */
  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#home, { recursive: true, force: true });
  }

  /** From another namespace nobody can ask it. */
  async #isListening(): Promise<boolean> {
    if (this.#enter.length > 0) return this.log().includes('Server listening on');
    return await greetsAsSsh(this.host, this.port);
  }

  #configuration({ confined, forwards = false, config = '' }: SshdOptions): string {
    const home = this.#home;
    const confinement = confined
      ? `ChrootDirectory ${join(home, 'chroot')}\nForceCommand internal-sftp -d /data ${confined.sftpArguments}\nPermitTTY no`
      : '';
    return `Port ${this.port}
ListenAddress ${this.host}
HostKey ${join(home, 'keys', 'host')}
PidFile none
AuthorizedKeysFile ${join(home, 'authorized', '%u')}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
DisableForwarding ${forwards ? 'no' : 'yes'}
MaxStartups 100
MaxSessions 100
LogLevel VERBOSE
Subsystem sftp internal-sftp -d ${this.folder}
${config}
${confinement}
`;
  }
}

/** Starts a server that ends, with all it made, when the test or suite does. */
export async function startSshd(lifetime: Lifetime, options: SshdOptions = {}): Promise<TestSshd> {
  const isRoot = process.getuid?.() === 0;
  if (isRoot) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  // sshd refuses a chroot below a folder that everybody can write to, as /tmp.
  const home = mkdtempSync(join(options.confined ? '/var/lib' : tmpdir(), 'salvage-sshd-'));
  chmodSync(home, 0o755);
  const sshd = new TestSshd(home, await freePort(), options);
  lifetime.after(() => sshd.close());
  await sshd.start();
  return sshd;
}

function generateKey(path: string): string {
  const { status, stderr } = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
  if (status !== 0) throw new Error(`ssh-keygen: ${String(stderr)}`);
  return readFileSync(`${path}.pub`, 'utf8');
}

function idsOf(user: string): [number, number] {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${user}:`));
  const [, , uid, gid] = line!.split(':');
  return [Number(uid), Number(gid)];
}

/** True if something at the port greets as an SSH server does. */
export async function greetsAsSsh(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    return greeting.toString('latin1').startsWith('SSH-2.0-');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** Every session of sshd makes itself the leader of a process group: only the parents tell whose they are. */
function descendants(pid: number): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = readFileSync(join('/proc', name, 'stat'), 'latin1');
      const parent = Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1]);
      childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended meanwhile.
    }
  }
  const found: number[] = [];
  const pending = [pid];
  for (let next = pending.pop(); next !== undefined; next = pending.pop())
    for (const child of childrenOf.get(next) ?? []) {
      found.push(child);
      pending.push(child);
    }
  return found;
}
