import { allocate, cString, systemCalls } from './system-calls.ts';
import type { Address } from './system-calls.ts';

// struct passwd and struct group both begin with the name's pointer; the id follows name and password.
const idOffset = 16;
const bufferSize = 65_536;

/**
 * Names of users and groups by number, and back, as the machine's own name service has them (files, LDAP, systemd).
 * Each is asked for once. A name or number that nobody has is '' or undefined.
 */
export class AccountNames {
  readonly #userNames = new Map<number, string>();
  readonly #groupNames = new Map<number, string>();
  readonly #userIds = new Map<string, number | undefined>();
  readonly #groupIds = new Map<string, number | undefined>();
  #memory: { buffer: Buffer; record: Buffer; at: Address; recordAt: Address; foundAt: Address } | undefined;

  userName(uid: number): string {
    let name = this.#userNames.get(uid);
    if (name === undefined) {
      name = this.#name(systemCalls().getpwuid_r, uid);
      this.#userNames.set(uid, name);
    }
    return name;
  }

  groupName(gid: number): string {
    let name = this.#groupNames.get(gid);
    if (name === undefined) {
      name = this.#name(systemCalls().getgrgid_r, gid);
      this.#groupNames.set(gid, name);
    }
    return name;
  }

  userId(name: string): number | undefined {
    return this.#cachedId(this.#userIds, systemCalls().getpwnam_r, name);
  }

  groupId(name: string): number | undefined {
    return this.#cachedId(this.#groupIds, systemCalls().getgrnam_r, name);
  }

  #name(
    ask: (id: number, record: Address, buffer: Address, size: number, found: Address) => number,
    id: number,
  ): string {
    const memory = this.#reserve();
    ask(id, memory.recordAt, memory.at, bufferSize, memory.foundAt);
    if (memory.record.readBigUInt64LE(64) === 0n) return '';
    const start = Number(memory.record.readBigUInt64LE(0)) - memory.at;
    if (start < 0 || start >= bufferSize) return '';
    return memory.buffer.toString('utf8', start, memory.buffer.indexOf(0, start));
  }

  #cachedId(
    cache: Map<string, number | undefined>,
    ask: (name: Uint8Array, record: Address, buffer: Address, size: number, found: Address) => number,
    name: string,
  ): number | undefined {
    if (cache.has(name)) return cache.get(name);
    let id: number | undefined;
    if (name !== '' && !name.includes('\0')) {
      const memory = this.#reserve();
      ask(cString(name), memory.recordAt, memory.at, bufferSize, memory.foundAt);
      if (memory.record.readBigUInt64LE(64) !== 0n) id = memory.record.readUInt32LE(idOffset);
    }
    // Names come from archives: a hostile one must not fill the memory.
    if (cache.size >= 10_000) cache.clear();
    cache.set(name, id);
    return id;
  }

  #reserve(): { buffer: Buffer; record: Buffer; at: Address; recordAt: Address; foundAt: Address } {
    if (!this.#memory) {
      const buffer = allocate(bufferSize);
      const record = allocate(128);
      const { addressOf } = systemCalls();
      const recordAt = addressOf(record);
      this.#memory = { buffer, record, at: addressOf(buffer), recordAt, foundAt: recordAt + 64 };
    }
    this.#memory.record.fill(0);
    return this.#memory;
  }
}
