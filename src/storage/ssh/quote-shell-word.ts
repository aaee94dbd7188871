/** One word of a POSIX shell's command line that stands for exactly this text: sshd hands a command to a shell. */
export function quoteShellWord(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
