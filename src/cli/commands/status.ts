import type { Command } from 'commander';
import { DrillReports } from '../../operation/drill/drill-report.ts';
import type { CliContext } from '../context.ts';
import { checkFleet, type FleetFlags } from '../fleet.ts';
import { parseDuration } from '../parse-duration.ts';
import { addKeeperFlag, addSignerFlags } from '../signer-options.ts';
import { stateFolder } from '../state-folder.ts';

interface Options extends FleetFlags {
  readonly maxAge?: string;
  readonly reports?: string;
}

export const examples: readonly string[] = [
  'salvage status --root /backup --allowed-signers allowed_signers',
  'salvage status --root s3://backups/fleet --allowed-signers allowed_signers --max-age 26h --json',
];

export function register(program: Command, context: CliContext): void {
  program.requiredOption('--root <url>', 'every repository below this place: a path or URL as for --repo');
  addSignerFlags(program);
  addKeeperFlag(program);
  program
    .option('--max-age <duration>', 'a newest snapshot older than this is not good enough: 26h, 8d')
    .option(
      '--state <folder>',
      'where the newest snapshots seen are remembered (default: $XDG_STATE_HOME/salvage/heads)',
    )
    .option('--reports <folder>', 'where the reports of drills are (default: $XDG_STATE_HOME/salvage/drills)')
    .option(
      '--ssh-command <command>',
      'the ssh program with its arguments, for sftp:// and ssh:// (default: $SALVAGE_SSH, then ssh)',
    )
    .option('--json', 'print one JSON object for each repository')
    .action(async (options: Options) => {
      const maxAgeMs = options.maxAge === undefined ? undefined : parseDuration(options.maxAge, '--max-age');
      const drills = new DrillReports(options.reports ?? stateFolder('drills', context));
      await checkFleet({ flags: options, readShare: 0, drills, maxAgeMs }, context);
    });
}
