import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { SalvageError } from '../../errors/salvage-error.ts';
import { replacePrivateFile } from '../../posix/replace-private-file.ts';
import type { RepositoryId, SnapshotId } from '../../repository/ids.ts';
import {
  countSchema,
  decodeJson,
  encodeJson,
  repositoryIdSchema,
  snapshotIdSchema,
  timeSchema,
} from '../../repository/json-document.ts';
import type { AllowedSigner } from '../../ssh/allowed-signers.ts';
import { signDocument, type Signer } from '../../ssh/signer.ts';
import { checkDocumentSignature } from '../reading/document-signature.ts';

export const drillNamespace = 'salvage-drill';

/** What a drill has proved, or not. */
export interface DrillReport {
  readonly repository: RepositoryId;
  readonly snapshot: SnapshotId;
  /** When it ended. RFC 3339. */
  readonly time: string;
  readonly durationMs: number;
  readonly passed: boolean;
  /** Everything, or files chosen by lot. */
  readonly scope: 'everything' | 'sample';
  readonly files: number;
  readonly bytes: number;
  readonly allFiles: number;
  readonly allBytes: number;
  /** What went wrong, one sentence each; not all of them where there are many. */
  readonly findings: readonly string[];
  /** The user's own command on what was restored; null if there was none. */
  readonly check: 'passed' | 'failed' | null;
}

/** `unchecked`: it fits, and nobody said who may sign. */
export type ReportSignature = 'trusted' | 'unchecked' | 'bad';

/** The last drill of a repository, by its report. */
export interface Drilled {
  readonly report: DrillReport;
  readonly signature: ReportSignature;
}

const maxBytes = 1024 * 1024;
const mostFindings = 100;
const schema = v.strictObject({
  format: v.literal('salvage-drill'),
  version: v.literal(1),
  repository: repositoryIdSchema,
  snapshot: snapshotIdSchema,
  time: timeSchema,
  durationMs: countSchema,
  passed: v.boolean(),
  scope: v.picklist(['everything', 'sample']),
  files: countSchema,
  bytes: countSchema,
  allFiles: countSchema,
  allBytes: countSchema,
  findings: v.pipe(v.array(v.string()), v.maxLength(mostFindings)),
  check: v.nullable(v.picklist(['passed', 'failed'])),
});

/** The last report of each repository, with an SSHSIG beside it for whoever is to be shown it. */
export class DrillReports {
  readonly #folder: string;

  /** `folder` need not exist. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  pathOf(repository: RepositoryId): string {
    return join(this.#folder, `${repository}.json`);
  }

  /**
   * Undefined if there was no drill, or its report cannot be read: nothing is proved then.
   * @param restorers who may sign reports; with none, the signature must merely fit
   */
  read(repository: RepositoryId, restorers: readonly AllowedSigner[] = []): Drilled | undefined {
    try {
      const path = this.pathOf(repository);
      const document = readFileSync(path);
      const { format: _, version: __, ...report } = decodeJson(schema, document, maxBytes, path);
      if (report.repository !== repository) return undefined;
      return { report, signature: checkReport(path, document, new Date(report.time), restorers) };
    } catch {
      return undefined;
    }
  }

  /** True if there are any. */
  get isUsed(): boolean {
    try {
      return readdirSync(this.#folder).length > 0;
    } catch {
      return false;
    }
  }

  /** Signs the report and keeps it in place of the one before. @throws bad-key, failed */
  async write(report: DrillReport, signer: Signer): Promise<void> {
    const path = this.pathOf(report.repository);
    const findings = report.findings.slice(0, mostFindings).map((text) => text.slice(0, 2000));
    const document = encodeJson({ format: 'salvage-drill', version: 1, ...report, findings });
    const armored = await signDocument(signer, drillNamespace, document);
    try {
      replacePrivateFile(path, document);
      replacePrivateFile(`${path}.sig`, armored);
    } catch (cause) {
      throw new SalvageError('failed', `Cannot keep the report "${path}": ${(cause as Error).message}`, {
        cause,
      });
    }
  }
}

function checkReport(
  path: string,
  document: Uint8Array,
  time: Date,
  restorers: readonly AllowedSigner[],
): ReportSignature {
  const principal = 'restorer';
  const trusted = {
    allowedSigners: restorers.map((signer) => ({ ...signer, principals: principal })),
    principal,
  };
  const signatureName = `${path}.sig`;
  try {
    const { state } = checkDocumentSignature(
      {
        what: `the report "${path}"`,
        signatureName,
        namespace: drillNamespace,
        document,
        armored: readFileSync(signatureName),
      },
      restorers.length > 0 ? trusted : undefined,
      time,
    );
    return state;
  } catch {
    return 'bad';
  }
}
