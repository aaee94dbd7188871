import { systemdCalendar } from '../calendar.ts';
import type { ServicePlan } from './service-plan.ts';

/** The texts of NAME.service and NAME.timer. A user's manager cannot shut off file systems everywhere: it is not asked to. */
export function systemdUnits(
  plan: ServicePlan,
  scope: 'system' | 'user',
): { readonly service: string; readonly timer: string } {
  const { name, configuration, command, environment, credentials, nice, ioClass } = plan;
  const service = [
    '# Written by "salvage schedule install": run it again after changes of the configuration.',
    '[Unit]',
    `Description=Do what is due of ${specifiers(configuration)} (salvage)`,
    ...(scope === 'system'
      ? ['Wants=network-online.target', 'After=network-online.target local-fs.target']
      : []),
    '',
    '[Service]',
    'Type=oneshot',
    `ExecStart=${command.map((word) => quote(word.replaceAll('$', '$$$$'))).join(' ')}`,
    ...Object.entries(environment).map(([key, value]) => `Environment=${quote(`${key}=${value}`)}`),
    ...Object.entries(credentials).map(([key, path]) => `LoadCredential=${key}:${specifiers(path)}`),
    '',
    '# Others go first.',
    `Nice=${nice}`,
    `IOSchedulingClass=${ioClass}`,
    ...(ioClass === 'best-effort' ? ['IOSchedulingPriority=7'] : []),
    '# One SIGTERM ends a run cleanly.',
    'KillMode=mixed',
    'TimeoutStopSec=2min',
    '',
    'NoNewPrivileges=true',
    'UMask=0077',
    ...(scope === 'system' ? hardening(plan) : []),
    '',
  ];
  const timer = [
    '# Written by "salvage schedule install": run it again after changes of the configuration.',
    '[Unit]',
    `Description=When something is due of ${specifiers(configuration)} (salvage)`,
    '',
    '[Timer]',
    ...plan.schedules.map((schedule) => `OnCalendar=${systemdCalendar(schedule)}`),
    '# What was missed while the machine was off is caught up.',
    'Persistent=true',
    '# What failed is tried again; where nothing did, there is nothing to do.',
    'OnUnitInactiveSec=1h',
    `RandomizedDelaySec=${plan.randomizedDelay}`,
    `Unit=${name}.service`,
    '',
    '[Install]',
    'WantedBy=timers.target',
    '',
  ];
  return { service: service.join('\n'), timer: timer.join('\n') };
}

function hardening({ ownFolders, writablePaths }: ServicePlan): string[] {
  return [
    '# Everything may be read, for it is to be backed up; nothing may be written but this.',
    'ProtectSystem=strict',
    'ProtectHome=read-only',
    ...['/tmp', '/var/tmp', ...ownFolders, ...writablePaths].map(
      (path) => `ReadWritePaths=${quote(`-${path}`)}`,
    ),
    '# To read what belongs to others, to give back to them what a drill restores, and for runuser(1) in commands.',
    'CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP CAP_SETUID CAP_SETGID CAP_SYS_NICE CAP_SYS_RESOURCE CAP_AUDIT_WRITE CAP_KILL',
    'ProtectKernelTunables=true',
    'ProtectKernelModules=true',
    'ProtectKernelLogs=true',
    'ProtectControlGroups=true',
    'ProtectClock=true',
    'ProtectHostname=true',
    'RestrictNamespaces=true',
    'RestrictRealtime=true',
    'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
    'LockPersonality=true',
    'SystemCallArchitectures=native',
    'KeyringMode=private',
  ];
}

/** A word as systemd.syntax(7) reads it. */
function quote(word: string): string {
  const escaped = specifiers(word).replaceAll('\\', '\\\\').replaceAll('"', '\\"');
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}

function specifiers(text: string): string {
  return text.replaceAll('%', '%%');
}
