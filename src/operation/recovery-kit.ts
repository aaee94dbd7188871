import { createHash } from 'node:crypto';
import { parsePublicKeyLine, fingerprint } from '../ssh/public-key.ts';

/** What a stranger must know to restore without this machine. Nothing here is secret. */
export interface RecoveryFacts {
  /** URL of the storage, without secrets. */
  readonly place: string;
  readonly repository: string;
  /** RFC 3339. */
  readonly created: string;
  /** Printed on the page as its date. */
  readonly printed: Date;
  /** As far as this machine is set up for the repository. */
  readonly recipients: readonly string[] | undefined;
  /** The line by which others check signatures. */
  readonly allowedSigner: string | undefined;
  readonly host: string | undefined;
}

/** A recipient, recognisable by who has its other half: SSH keys by their fingerprint, age keys as they are if short. */
function describeRecipient(recipient: string): string {
  const ssh = recipient.startsWith('ssh-') ? parsePublicKeyLine(recipient) : undefined;
  if (ssh) return `${ssh.key.type} ${fingerprint(ssh.key)}`;
  if (recipient.length <= 80) return recipient;
  const digest = createHash('sha256').update(recipient).digest('hex').slice(0, 32);
  return `${recipient.slice(0, 24)}… (SHA-256 of the whole text begins with ${digest})`;
}

/** The page as lines of text; headings end with a colon, commands are indented. */
export function recoveryKitText(facts: RecoveryFacts): string {
  const { place, repository, created, printed, recipients, allowedSigner, host } = facts;
  const day = printed.toISOString().slice(0, 10);
  const lines = [
    'RECOVERY KIT',
    `Printed on ${day}. Keep it away from the machine that it is about. It holds no secret.`,
    '',
    'What this is about:',
    `  Encrypted backups${host === undefined ? '' : ` of ${host}`}, made with salvage since ${created.slice(0, 10)}.`,
    `  Repository ${repository}`,
    '',
    'Where:',
    `  ${place}`,
    '  Every copy of that folder is as good: nothing else is needed.',
    '',
    'Who can open it (the other half, the private key, is needed):',
    ...(recipients
      ? recipients.map((recipient) => `  ${describeRecipient(recipient)}`)
      : ['  Not known on the machine where this was printed. Fill in: ______________________________']),
    '  Where that private key is kept: ______________________________',
    '',
    'With salvage:',
    `  salvage restore latest --repo ${place} -i PRIVATE_KEY --target FOLDER`,
    '',
    'Without salvage, with python3, age and zstd (any Linux has packages of these names):',
    '  Copy the repository to a disk, go to that folder, and run:',
    '  python3 recover.py --repo . -i PRIVATE_KEY --target FOLDER latest',
    '  README.txt beside it tells how to do it by hand, file by file.',
    '',
    'Whether it is genuine:',
    ...(allowedSigner === undefined
      ? ['  The line for allowed_signers, from whoever verifies this host: ______________________________']
      : ['  Put this line into a file allowed_signers:', `  ${allowedSigner}`]),
    `  ssh-keygen -Y verify -f allowed_signers -I ${host ?? 'HOST'} -n salvage-snapshot \\`,
    '    -s snapshots/ID/SHA256SUMS.sig < snapshots/ID/SHA256SUMS',
    '  sha256sum -c snapshots/ID/SHA256SUMS',
    '  ID is the name of the last folder in snapshots/.',
    '',
  ];
  return lines.join('\n');
}

/** The same page for a browser, which prints it on one sheet or into a PDF. */
export function recoveryKitHtml(facts: RecoveryFacts): string {
  const escaped = escapeHtml(recoveryKitText(facts).replace(/^RECOVERY KIT\n/, ''));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Recovery kit</title>
<style>
  @page { size: A4; margin: 15mm; }
  body { font: 10.5pt/1.35 sans-serif; max-width: 180mm; margin: 0 auto; }
  pre { font: 8.5pt/1.45 monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
</style>
<h1>Recovery kit</h1>
<pre>${escaped}</pre>
</html>
`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => entities[character]!);
}
