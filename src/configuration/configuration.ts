import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { SalvageError } from '../errors/salvage-error.ts';
import { checkSettings } from './check-settings.ts';
import { configurationError, type Finding } from './finding.ts';
import { overridesIn } from './overrides.ts';
import type { Settings } from './schema/configuration-schema.ts';
import type { Secret } from './schema/values.ts';
import { SettingsTree } from './settings-tree.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const maxFileBytes = 4 * 1024 * 1024;
const mostFiles = 1000;

/** salvage.toml with all that belongs to it, checked. */
export class Configuration {
  /** Absolute path of the file. */
  readonly file: string;
  /** The files that it includes, absolute. */
  readonly included: readonly string[];
  readonly settings: Settings;
  readonly #env: Environment;

  private constructor(file: string, included: readonly string[], settings: Settings, env: Environment) {
    this.file = file;
    this.included = included;
    this.settings = settings;
    this.#env = env;
  }

  /**
   * Reads the file, what it includes, and the variables of the environment that override keys of it.
   * @throws usage with every finding if it is not right; failed if it cannot be read
   */
  static load(path: string, env: Environment): Configuration {
    const file = resolve(path);
    const tree = new SettingsTree();
    const findings: Finding[] = [];
    const included: string[] = [];
    tree.add(readText(file), file);
    for (const pattern of includesOf(tree)) {
      const files = filesOf(resolve(dirname(file), pattern));
      if (files.length === 0 && !pattern.includes('*'))
        findings.push({ place: tree.placeOf(['include']), message: `there is no file "${pattern}"` });
      for (const other of files) {
        if (other === file || included.includes(other)) continue;
        if (included.length === mostFiles)
          throw new SalvageError(
            'usage',
            `Cannot use the configuration "${file}": it includes too many files`,
          );
        included.push(other);
        tree.add(readText(other), other);
      }
    }
    for (const { path, value, name, text, problem } of overridesIn(env, tree.value)) {
      const place = { file: name, text, line: 1, column: 0, length: text.length };
      if (problem === undefined) tree.override(path, value, name, text);
      else findings.push({ place, message: problem });
    }
    findings.push(...tree.findings);
    const checked = findings.length > 0 ? findings : checkSettings(tree);
    if (Array.isArray(checked)) throw configurationError(checked, file);
    return new Configuration(file, included, checked as Settings, env);
  }

  /** A path as the configuration means it: seen from its folder. */
  path(path: string): string {
    return resolve(dirname(this.file), path);
  }

  /** Where a credential is: handed over by systemd, or in its file. */
  credentialPath(name: string): string {
    const folder = this.#env['CREDENTIALS_DIRECTORY'] ?? '';
    return isAbsolute(folder) ? join(folder, name) : this.path(this.settings.credentials[name]!);
  }

  /** Where a secret is: in a file, or in what a command prints. */
  secret(secret: Secret): { readonly file: string } | { readonly command: string } {
    if ('command' in secret) return secret;
    return { file: 'file' in secret ? this.path(secret.file) : this.credentialPath(secret.credential) };
  }
}

/** Only the first file includes others, so that one place shows what belongs to it. */
function includesOf(tree: SettingsTree): string[] {
  const { include } = tree.value;
  return Array.isArray(include) ? include.filter((pattern) => typeof pattern === 'string') : [];
}

/** In order of their names. */
function filesOf(pattern: string): string[] {
  return globSync(basename(pattern), { cwd: dirname(pattern) })
    .sort()
    .map((name) => join(dirname(pattern), name));
}

function readText(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new SalvageError(
      code === 'ENOENT' ? 'usage' : 'failed',
      `Cannot read the configuration "${path}": ${code === 'ENOENT' ? 'there is no such file' : message}`,
      { hint: 'Name it with --config; the manual has examples for each role, on the page "Operate".', cause },
    );
  }
  if (bytes.length > maxFileBytes)
    throw new SalvageError('usage', `Cannot use the configuration "${path}": it is larger than 4 MiB`);
  // Editors of Windows begin a file with a byte order mark.
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}
