/**
 * How a plugin reaches the user. What it says is foreign text: the implementation escapes it. A method that throws
 * SalvageError 'usage' or 'bad-key' has the plugin told that there is no answer; any other error ends the run.
 */
export interface PluginUi {
  /** One line, such as a request to touch a key. */
  message(plugin: string, text: string): void;
  /** True for `yes`, false for `no`; where there is no `no`, the user can only agree or stop. */
  confirm(plugin: string, text: string, yes: string, no: string | undefined): Promise<boolean>;
  /** Something that may be seen while it is typed. */
  requestPublic(plugin: string, prompt: string): Promise<string>;
  /**
   * A PIN or passphrase. `isRepeated` says that this run of the plugin had one already: an answer that no human gives
   * is then not to be given again, for it is probably wrong, and a token locks after a few.
   */
  requestSecret(plugin: string, prompt: string, isRepeated: boolean): Promise<string>;
}
