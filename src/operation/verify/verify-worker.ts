// Thread of `verify`.
import { serveJobs } from '../worker/worker-thread.ts';
import { ObjectVerifier } from './object-verifier.ts';
import type { VerifyAnswer, VerifyJob } from './verify-messages.ts';

serveJobs<undefined, VerifyJob, VerifyAnswer>(({ objects }) => new ObjectVerifier(objects));
