/**
 * PINs and passphrases that plugins have been given and that proved right, for as long as this process lives: one answer
 * serves all files of a restore. The question is part of the key: a plugin that adds "last try" to it is answered anew.
 */
export class SecretMemory {
  readonly #secrets = new Map<string, string>();

  get(plugin: string, prompt: string): string | undefined {
    return this.#secrets.get(key(plugin, prompt));
  }

  set(plugin: string, prompt: string, secret: string): void {
    this.#secrets.set(key(plugin, prompt), secret);
  }

  delete(plugin: string, prompt: string): void {
    this.#secrets.delete(key(plugin, prompt));
  }
}

function key(plugin: string, prompt: string): string {
  return `${plugin}\n${prompt}`;
}
