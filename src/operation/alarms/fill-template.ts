import { SalvageError } from '../../errors/salvage-error.ts';
import { stepReportJson, stepText, stepTitle, type StepReport } from '../records/step-report.ts';

const place = /\{\{ *([a-zA-Z]{1,40}) *\}\}/g;

/** The places of a template and what fills them. */
const places: Readonly<Record<string, (report: StepReport) => string>> = {
  title: stepTitle,
  text: stepText,
  message: ({ message }) => message,
  hint: ({ hint }) => hint ?? '',
  outcome: ({ outcome }) => outcome,
  code: ({ code }) => code ?? '',
  step: ({ kind }) => kind,
  name: ({ name }) => name,
  repository: ({ repository }) => repository,
  host: ({ host }) => host,
  snapshot: ({ snapshot }) => snapshot ?? '',
  warnings: ({ warnings }) => warnings.join('\n'),
  startedAt: ({ startedAt }) => startedAt.toISOString(),
  endedAt: ({ endedAt }) => endedAt.toISOString(),
  durationSeconds: ({ durationMs }) => String(Math.round(durationMs) / 1000),
  result: (report) => JSON.stringify(stepReportJson(report)),
};

/** What is wrong with a template, as the end of a sentence; undefined if nothing is. */
export function templateTrouble(template: string): string | undefined {
  for (const [, name] of template.matchAll(place))
    if (!Object.hasOwn(places, name!)) return `there is no place {{${name}}}`;
  return undefined;
}

/**
 * The template with its places `{{name}}` filled in, each as it has to stand there: within a string of JSON, in a form, or
 * as it is, by the type of the content. So what is filled in never ends the string that it stands in. `{{result}}` is the
 * one that is whole JSON by itself. @throws usage for a place that there is not
 */
export function fillTemplate(template: string, contentType: string, report: StepReport): string {
  const trouble = templateTrouble(template);
  if (trouble !== undefined)
    throw new SalvageError('usage', `Cannot fill in the template: ${trouble}`, {
      hint: `The places are ${Object.keys(places).join(', ')}.`,
    });
  const isJson = /\bjson\b/i.test(contentType);
  const isForm = /\bx-www-form-urlencoded\b/i.test(contentType);
  return template.replace(place, (_, name: string) => {
    const text = places[name]!(report);
    if (isForm) return encodeURIComponent(text);
    return isJson && name !== 'result' ? JSON.stringify(text).slice(1, -1) : text;
  });
}
