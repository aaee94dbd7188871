import { abortable } from '../../storage/abortable.ts';
import type { StagedObject } from '../../storage/staged-object.ts';
import { StorageDecorator } from '../../storage/storage-decorator.ts';
import type { CreateResult, Storage } from '../../storage/storage.ts';

/** A storage in which nothing is stored before `opened` resolves; where it rejects nothing ever is, and that is thrown. */
export class GatedStorage extends StorageDecorator {
  readonly #opened: Promise<unknown>;

  constructor(inner: Storage, opened: Promise<unknown>) {
    super(inner);
    this.#opened = opened;
  }

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    await abortable(this.#opened, signal);
    return await this.inner.create(name, body, signal);
  }

  override async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    await abortable(this.#opened, signal);
    return await this.inner.createFromStream(name, body, signal);
  }

  override async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    await abortable(this.#opened, signal);
    return await this.inner.createStaged(staged, signal);
  }
}
