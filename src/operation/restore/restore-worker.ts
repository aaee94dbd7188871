// Thread of `restore`.
import { serveJobs } from '../worker/worker-thread.ts';
import { PackRestorer } from './pack-restorer.ts';
import type { RestoreAnswer, RestoreJob, RestoreSettings } from './restore-messages.ts';

serveJobs<RestoreSettings, RestoreJob, RestoreAnswer>((thread) => new PackRestorer(thread));
