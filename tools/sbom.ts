// The software bill of materials of a release, as CycloneDX 1.6 JSON: everything that package-lock.json would bring in to run
// salvage on this platform, with the digests by which npm checked it. The same lock file makes the same bytes.
import { createHash } from 'node:crypto';

/** The part of an entry in package-lock.json (lockfileVersion 3) that is told on. */
interface LockedPackage {
  readonly name?: string;
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly os?: string | readonly string[];
  readonly cpu?: string | readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface LockFile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

export interface Component {
  readonly type: 'application' | 'library' | 'platform';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses: readonly unknown[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

export interface Sbom {
  readonly $schema: string;
  readonly bomFormat: 'CycloneDX';
  readonly specVersion: '1.6';
  readonly serialNumber: string;
  readonly version: 1;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

export function makeSbom(lock: LockFile, platform: { readonly os: string; readonly cpu: string }): Sbom {
  const found = new Map<string, Component>();
  const dependencies: { ref: string; dependsOn: string[] }[] = [];
  const visit = (path: string): string => {
    const known = found.get(path);
    if (known) return known['bom-ref'];
    const locked = lock.packages[path]!;
    const component = describe(path, locked);
    found.set(path, component);
    const needs = { ref: component['bom-ref'], dependsOn: [] as string[] };
    dependencies.push(needs);
    for (const name of Object.keys({ ...locked.dependencies, ...locked.optionalDependencies }).toSorted()) {
      const place = resolve(lock, path, name);
      if (place !== undefined && fits(lock.packages[place]!, platform)) needs.dependsOn.push(visit(place));
    }
    return needs.ref;
  };
  visit('');
  const [program, ...components] = found.values();
  const content = JSON.stringify([program, components, dependencies]);
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(content)}`,
    version: 1,
    metadata: { component: program! },
    components: components.toSorted((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1)),
    dependencies,
  };
}

function describe(path: string, { name, version = '', integrity, license }: LockedPackage): Component {
  const fullName = name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const purl = `pkg:npm/${fullName.replace('@', '%40')}@${version}`;
  const [, sha512] = /^sha512-(\S+)$/.exec(integrity ?? '') ?? [];
  const isExpression = /[ ()]/.test(license ?? '');
  return {
    type: path === '' ? 'application' : fullName.startsWith('node-') ? 'platform' : 'library',
    'bom-ref': purl,
    name: fullName,
    version,
    purl,
    licenses:
      license === undefined ? [] : isExpression ? [{ expression: license }] : [{ license: { id: license } }],
    ...(sha512 === undefined
      ? {}
      : { hashes: [{ alg: 'SHA-512', content: Buffer.from(sha512, 'base64').toString('hex') }] }),
  };
}

/** Where Node finds a package: in the nearest node_modules above. */
function resolve(lock: LockFile, from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const place = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (lock.packages[place]) return place;
    if (folder === '') return undefined;
  }
}

function fits({ os, cpu }: LockedPackage, platform: { readonly os: string; readonly cpu: string }): boolean {
  const allows = (list: string | readonly string[] | undefined, value: string): boolean =>
    list === undefined || list.includes(value);
  return allows(os, platform.os) && allows(cpu, platform.cpu);
}

/** A UUID of version 8 (RFC 9562) out of a digest. */
function uuidOf(content: string): string {
  const bytes = createHash('sha256').update(content).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
