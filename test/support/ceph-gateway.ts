// A throw-away S3 server on the loopback interface: Ceph's RADOS Gateway over one monitor and one storage daemon that
// keeps everything in memory. It has versions, Object Lock, bucket policies, quotas and TLS as the real thing; ready in
// about half a second.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { S3Client } from '@aws-sdk/client-s3';
import { freePort } from './free-port.ts';

export interface GatewayUser {
  readonly name: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const host = '127.0.0.1';
const startTries = 3;

/** Starts one. It is to be closed. */
export async function startCephGateway(): Promise<CephGateway> {
  for (let attempt = 1; ; attempt++) {
    const gateway = new CephGateway(await freePort(), await freePort(), await freePort());
    try {
      await gateway.start();
      return gateway;
    } catch (error) {
      await gateway.close();
      // Another process may have taken a port that was free.
      if (attempt === startTries) throw error;
    }
  }
}

export class CephGateway {
  readonly endpoint: string;
  readonly tlsEndpoint: string;
  /** The certificate of `tlsEndpoint`, in PEM: its own authority. */
  readonly certificate: string;
  readonly #folder: string;
  readonly #config: string;
  readonly #ports: { readonly monitor: number; readonly http: number; readonly https: number };
  readonly #children: ChildProcess[] = [];
  readonly #clients: S3Client[] = [];
  #gateway: ChildProcess | undefined;

  /** Use `startCephGateway`. */
  constructor(monitor: number, http: number, https: number) {
    this.#ports = { monitor, http, https };
    this.endpoint = `http://${host}:${http}`;
    this.tlsEndpoint = `https://${host}:${https}`;
    this.#folder = mkdtempSync(join(tmpdir(), 'salvage-ceph-'));
    this.#config = join(this.#folder, 'ceph.conf');
    this.certificate = join(this.#folder, 'certificate.pem');
  }

  async start(): Promise<void> {
    for (const name of ['mon', 'osd', 'run', 'log', 'rgw', 'rgw-later']) mkdirSync(join(this.#folder, name));
    const id = randomUUID();
    this.#makeCertificate();
    writeFileSync(this.#config, this.#configuration(id));
    const map = join(this.#folder, 'monmap');
    const address = `[v2:${host}:${this.#ports.monitor}]`;
    this.#run('monmaptool', ['--create', '--fsid', id, '--addv', 'a', address, map]);
    this.#run('ceph-mon', [...this.#with, '-i', 'a', '--mkfs', '--monmap', map]);
    this.#spawn('ceph-mon', [...this.#with, '-i', 'a', '-f']);
    const osd = randomUUID();
    this.#run('ceph', [...this.#with, '--connect-timeout', '120', 'osd', 'new', osd]);
    this.#run('ceph-osd', [...this.#with, '-i', '0', '--mkfs', '--osd-uuid', osd]);
    this.#spawn('ceph-osd', [...this.#with, '-i', '0', '-f']);
    await this.startGateway();
  }

  /** Starts the gateway itself, again after `killGateway`. */
  async startGateway(): Promise<void> {
    this.#gateway = this.#spawn('radosgw', [...this.#with, '-n', 'client.rgw', '-f']);
    await this.#awaitPort(this.#gateway, this.#ports.http);
  }

  /** What is under way is lost; what was stored stays. */
  async killGateway(): Promise<void> {
    await end(this.#gateway!);
  }

  /** A second door to the same storage, whose clock is that many days ahead. Returns its endpoint. */
  async startLater(days: number): Promise<string> {
    const port = await freePort();
    const program = ['radosgw', ...this.#with, '-n', 'client.later', '-f', '--rgw-frontends'];
    const child = this.#spawn('faketime', [
      '-f',
      `+${days}d`,
      ...program,
      `beast endpoint=${host}:${port} tcp_nodelay=1`,
    ]);
    await this.#awaitPort(child, port);
    return `http://${host}:${port}`;
  }

  createUser(name: string): GatewayUser {
    const user = { name, accessKeyId: `KEY${name}`, secretAccessKey: `secret-${name}` };
    const keys = ['--access-key', user.accessKeyId, '--secret-key', user.secretAccessKey];
    this.admin(['user', 'create', `--uid=${name}`, `--display-name=${name}`, ...keys]);
    return user;
  }

  /** Runs radosgw-admin. */
  admin(args: readonly string[]): void {
    this.#run('radosgw-admin', [...this.#with, ...args]);
  }

  /** A client of the test itself, not of salvage. Ended with the gateway. */
  client(
    user: GatewayUser,
    options: { readonly endpoint?: string; readonly clockOffsetMs?: number } = {},
  ): S3Client {
    const client = new S3Client({
      endpoint: options.endpoint ?? this.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: user,
      maxAttempts: 1,
      systemClockOffset: options.clockOffsetMs ?? 0,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    this.#clients.push(client);
    return client;
  }

  /** What a process needs in its environment to be this user, and nobody else by the machine's own configuration. */
  environment(user: GatewayUser): Record<string, string> {
    return {
      AWS_ACCESS_KEY_ID: user.accessKeyId,
      AWS_SECRET_ACCESS_KEY: user.secretAccessKey,
      AWS_ENDPOINT_URL_S3: this.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      AWS_EC2_METADATA_DISABLED: 'true',
    };
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await Promise.all(this.#children.map(end));
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  get #with(): readonly string[] {
    return ['-c', this.#config];
  }

  #run(program: string, args: readonly string[]): void {
    const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.#folder, 'log', `${program}-${this.#children.length}.out`), 'w');
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    this.#children.push(child);
    // Also where a failing test ends the process without closing.
    process.once('exit', () => kill(child));
    return child;
  }

  async #awaitPort(child: ChildProcess, port: number): Promise<void> {
    while (!(await answers(port))) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`${child.spawnfile} ended: ${this.#log()}`);
      await setTimeout(20);
    }
  }

  #log(): string {
    const names = ['ceph-mon-0.out', 'ceph-osd-1.out', 'radosgw-2.out'];
    return names.map((name) => readFileSync(join(this.#folder, 'log', name), 'utf8').slice(-2000)).join('\n');
  }

  #makeCertificate(): void {
    const key = join(this.#folder, 'key.pem');
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30'];
    const names = ['-subj', '/CN=localhost', '-addext', `subjectAltName=DNS:localhost,IP:${host}`];
    this.#run('openssl', ['req', '-x509', ...curve, ...names, '-keyout', key, '-out', this.certificate]);
    const both = readFileSync(key, 'utf8') + readFileSync(this.certificate, 'utf8');
    writeFileSync(join(this.#folder, 'tls.pem'), both, { mode: 0o600 });
  }

  #configuration(id: string): string {
    const { monitor, http, https } = this.#ports;
    const folder = this.#folder;
    return `
[global]
fsid = ${id}
mon_initial_members = a
mon_host = [v2:${host}:${monitor}/0]
public_addr = ${host}
cluster_addr = ${host}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_supported = none
ms_bind_ipv4 = true
ms_bind_ipv6 = false
ms_bind_msgr1 = false
${['mon_cluster', 'mon_service', 'mon_client', 'cluster', 'service', 'client'].map((who) => `ms_${who}_mode = crc`).join('\n')}
ms_bind_port_min = ${monitor + 1}
ms_bind_port_max = ${monitor + 400}
run_dir = ${folder}/run
admin_socket = ${folder}/run/$name.asok
pid_file = ${folder}/run/$name.pid
log_file = ${folder}/log/$name.log
crash_dir = ${folder}/log
keyring = ${folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
[mon]
mon_data = ${folder}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 0
mon_cluster_log_file = ${folder}/log/cluster.log
paxos_propose_interval = 0.01
[osd]
osd_data = ${folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_memory_target = 939524096
[client]
rgw_enable_usage_log = false
rgw_thread_pool_size = 32
rgw_dns_name = localhost
[client.rgw]
rgw_data = ${folder}/rgw
rgw_frontends = beast endpoint=${host}:${http} ssl_endpoint=${host}:${https} ssl_certificate=${folder}/tls.pem tcp_nodelay=1
[client.later]
rgw_data = ${folder}/rgw-later
`;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  kill(child);
  await ended;
}

function kill({ pid, exitCode, signalCode }: ChildProcess): void {
  // The whole group: faketime is a parent of what it runs.
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
