import { largestObjectBytes } from '../storage/storage.ts';

const mib = 1024 * 1024;

/** What a writer keeps to and a reader refuses to go beyond (docs/design/format.md "Limits"). Sizes in bytes. */
export const limits: {
  readonly storedObject: number;
  readonly packTarget: { readonly smallest: number; readonly largest: number };
  readonly rawStream: number;
  readonly frames: number;
  readonly sharedFrame: number;
  readonly blob: number;
  readonly compressedFrame: number;
  readonly path: number;
  readonly line: number;
  readonly rangesPerLine: number;
  readonly holesPerLine: number;
  readonly segment: number;
  readonly packsPerSegment: number;
  readonly checksums: number;
  readonly snapshotJson: number;
  readonly repositoryJson: number;
  readonly rootJson: number;
  readonly handover: number;
  readonly keeperRecord: number;
  readonly healingRequest: number;
} = {
  storedObject: largestObjectBytes,
  packTarget: { smallest: 16 * mib, largest: 120 * mib },
  rawStream: 1024 * mib,
  frames: 65_536,
  sharedFrame: 2 * mib,
  blob: 4 * mib,
  compressedFrame: 4 * mib + 64 * 1024,
  path: 65_535,
  line: mib,
  rangesPerLine: 1024,
  holesPerLine: 1024,
  segment: 4 * mib,
  packsPerSegment: 16_384,
  checksums: 32 * mib,
  snapshotJson: 64 * 1024,
  repositoryJson: 4096,
  rootJson: 256 * mib,
  handover: 64 * 1024,
  keeperRecord: 32 * mib,
  healingRequest: mib,
};
