import { SalvageError } from '../errors/salvage-error.ts';

/** An object that is not what it should be: `state` says what was found, after "Cannot trust …:". */
export function damagedObject(name: string, state: string, cause?: unknown): SalvageError {
  return new SalvageError('damaged', `Cannot trust "${name}": ${state}`, {
    details: { object: name },
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * What reading an object threw, as damage of that object: plain errors are ours and say what was found, errors of the
 * layers below (age, zstd) become the cause. Programming errors are left alone.
 */
export function namingDamage(name: string, error: unknown): unknown {
  if (error instanceof SalvageError)
    return typeof error.details['object'] === 'string'
      ? error
      : damagedObject(name, lowerFirst(error.message), error);
  return error instanceof Error && error.constructor === Error ? damagedObject(name, error.message) : error;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
