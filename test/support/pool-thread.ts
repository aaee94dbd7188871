// A thread of a WorkerPool for tests: does what each job says.
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { serveJobs } from '../../src/operation/worker/worker-thread.ts';

export type TestJob =
  | { readonly kind: 'echo'; readonly text: string }
  | { readonly kind: 'read'; readonly name: string }
  /** Takes this supply, and tells so before it answers. */
  | { readonly kind: 'take'; readonly wanted: string }
  | { readonly kind: 'fail' }
  | { readonly kind: 'bug' }
  | { readonly kind: 'exit' };

/** Every answer begins with the setting. */
serveJobs<string, TestJob, string, string, string>((thread) => ({
  run(job) {
    switch (job.kind) {
      case 'echo':
        return `${thread.settings} ${job.text}`;
      case 'read':
        return `${thread.settings} ${Buffer.from(thread.objects.read(job.name, { offset: 0, length: 100 })).toString()}`;
      case 'take': {
        const supply = thread.take((text): text is string => text === job.wanted);
        thread.tell(`took ${supply}`);
        return `${thread.settings} ${supply}`;
      }
      case 'fail':
        throw new SalvageError('damaged', 'Cannot do it', { hint: 'Leave it.', details: { object: 'it' } });
      case 'bug':
        throw new TypeError('a bug');
      case 'exit':
        process.exit(0);
    }
  },
}));
