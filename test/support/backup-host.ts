// A host that backs up into storage in memory, or another one, in the test's own process.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X25519Identity } from '../../src/age/x25519.ts';
import { systemClock, type Clock } from '../../src/clock/clock.ts';
import { backup, type BackupResult } from '../../src/operation/backup/backup.ts';
import { HostConfigurations } from '../../src/operation/host-configurations.ts';
import { init } from '../../src/operation/init/init.ts';
import type { HostConfiguration } from '../../src/repository/host-configuration.ts';
import { planRoots } from '../../src/source/source-roots.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { privateKeySigner, type Signer } from '../../src/ssh/signer.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import type { Storage } from '../../src/storage/storage.ts';

export interface BackupHost<S extends Storage = MemoryStorage> {
  /** Removed at the end; `src` in it is what is backed up, and empty. */
  readonly folder: string;
  readonly storage: S;
  readonly identity: X25519Identity;
  readonly host: HostConfiguration;
  readonly signer: Signer;
}

interface Lifetime {
  after(callback: () => void): void;
}

/** A host that is set up for a new repository. */
export async function createBackupHost(lifetime: Lifetime): Promise<BackupHost> {
  return await createBackupHostIn(new MemoryStorage(), lifetime);
}

/** The same in a given storage, which is empty. */
export async function createBackupHostIn<S extends Storage>(
  storage: S,
  lifetime: Lifetime,
): Promise<BackupHost<S>> {
  const folder = mkdtempSync(join(tmpdir(), 'salvage-host-'));
  lifetime.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'src'));
  const identity = X25519Identity.generate();
  const host = await init({
    storage,
    configurations: new HostConfigurations(join(folder, 'config')),
    url: 'memory',
    recipients: [identity.recipient.toString()],
    signingKey: '/nowhere',
    name: 'host',
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { folder, storage, identity, host, signer: privateKeySigner(generateEd25519Key('host')) };
}

export async function runBackup(
  { folder, storage: own, host, signer }: BackupHost<Storage>,
  {
    storage = own,
    clock = systemClock,
    force = false,
    onNotice = () => {},
    onProgress = () => {},
  }: {
    storage?: Storage;
    clock?: Clock;
    force?: boolean;
    onNotice?: (message: string) => void;
    onProgress?: () => void;
  } = {},
): Promise<BackupResult> {
  return await backup({
    storage,
    host,
    signer,
    source: { kind: 'paths', paths: ['/src'], walk: { roots: planRoots([join(folder, 'src')]) } },
    folder: join(folder, 'cache'),
    threads: 1,
    memoryBytes: 250 * 1024 * 1024,
    force,
    observer: { onProblem: () => {}, onProgress, onNotice },
    clock,
    signal: new AbortController().signal,
  });
}
