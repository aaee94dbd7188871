// Runs a program on a terminal of its own, with expect at the other end.
import type { RunOptions, Sandbox } from './cli.ts';

export interface TerminalResult {
  /** The exit code, 128 + number for a signal. */
  readonly code: number;
  /** Everything that appeared on the terminal. */
  readonly screen: string;
}

/**
 * Runs `command`, a line of sh, on a pseudo-terminal. `dialogue` is what expect does: `expect "text"`, `send "text\r"`.
 * A text that does not appear within a minute gives the code 99.
 */
export async function runOnTerminal(
  box: Sandbox,
  command: string,
  dialogue = '',
  options: RunOptions = {},
): Promise<TerminalResult> {
  // The arguments of the program are in the environment: nothing of them is Tcl.
  const script = `
    set timeout 60
    log_user 0
    set screen ""
    proc wait_for {text} {
      global screen
      expect {
        -ex $text { append screen $expect_out(buffer) }
        timeout { puts stderr "no <$text> after <$screen>"; exit 99 }
        eof { puts stderr "ended before <$text>, after <$screen$expect_out(buffer)>"; exit 98 }
      }
    }
    spawn -noecho /bin/bash -c $env(COMMAND)
    fconfigure $spawn_id -translation binary
    ${dialogue.replaceAll('expect "', 'wait_for "')}
    expect {
      full_buffer { append screen $expect_out(buffer); exp_continue }
      timeout { puts stderr "still running after <$screen>"; exit 97 }
      eof { append screen $expect_out(buffer) }
    }
    fconfigure stderr -translation binary
    puts -nonewline stderr $screen
    lassign [wait] pid id failed code kind name
    if {$kind eq "CHILDKILLED"} { set code [expr {128 + [dict get {SIGINT 2 SIGTERM 15 SIGKILL 9 SIGHUP 1} $name]}] }
    exit $code`;
  const { code, stderr } = await box.program('/usr/bin/expect', ['-c', script], {
    ...options,
    env: { ...options.env, COMMAND: `exec ${command}` },
  });
  if (code >= 97 && code <= 99) throw new Error(stderr);
  return { code, screen: stderr };
}
