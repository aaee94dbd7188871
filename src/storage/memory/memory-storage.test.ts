import { testStorage } from '../../../test/support/storage-conformance.ts';
import { MemoryStorage } from './memory-storage.ts';

testStorage('memory', {
  open: async () => {
    const storage = new MemoryStorage();
    return await Promise.resolve({ storage, second: storage, close: async () => await Promise.resolve() });
  },
});
