import { createRequire } from 'node:module';
import { isSea } from 'node:sea';
import { compileFunction } from 'node:vm';
import { assetPath, readAsset } from './read-asset.ts';

interface CommonJsModule {
  exports: unknown;
}

/**
 * The exports of a large package that the bundler keeps as an asset of its own, so that only who uses it pays for it. Only the
 * bundler writes calls of this, in place of the package.
 */
export function loadPackage(asset: URL): unknown {
  const require = createRequire(import.meta.filename);
  if (!isSea()) return require(assetPath(asset));
  const module: CommonJsModule = { exports: {} };
  const code = Buffer.from(readAsset(asset)).toString();
  const run = compileFunction(code, ['module', 'exports', 'require'], { filename: asset.href }) as (
    module: CommonJsModule,
    exports: unknown,
    require: NodeJS.Require,
  ) => void;
  run(module, module.exports, require);
  return module.exports;
}
