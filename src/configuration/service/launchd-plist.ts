import { servicePath, wakeMinutes, type ServicePlan } from './service-plan.ts';

/** The property list of a job of launchd. It wakes salvage every quarter of an hour: the run knows what is due. */
export function launchdPlist({ name, command, environment, nice }: ServicePlan): string {
  const variables = Object.entries({ PATH: servicePath, ...environment });
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by "salvage schedule install": run it again after changes of the configuration. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${escape(name)}</string>
  <key>ProgramArguments</key>
  <array>
${[...command, '-q'].map((word) => `    <string>${escape(word)}</string>\n`).join('')}  </array>
  <key>EnvironmentVariables</key>
  <dict>
${variables.map(([key, value]) => `    <key>${escape(key)}</key>\n    <string>${escape(value)}</string>\n`).join('')}  </dict>
  <key>StartInterval</key>
  <integer>${wakeMinutes * 60}</integer>
  <key>Nice</key>
  <integer>${nice}</integer>
  <key>LowPriorityIO</key>
  <true/>
  <key>ProcessType</key>
  <string>Background</string>
</dict>
</plist>
`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
