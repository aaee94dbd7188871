// Where a bundle starts: one file that is both programs, salvage and age-plugin-pkcs11.
import { basename, isAbsolute, join } from 'node:path';
import { isSea } from 'node:sea';
import { useNativeFolder } from '../bundle/load-koffi.ts';
import { pluginProgram } from './plugin-program.ts';

const [, called = '', first] = process.argv;
const { XDG_CACHE_HOME: cacheHome = '', HOME: home = '' } = process.env;
const cache = isAbsolute(cacheHome) ? cacheHome : join(home, '.cache');
if (isAbsolute(cache)) useNativeFolder(join(cache, 'salvage', 'native'));

// So that the commands which salvage names can be copied as they stand.
if (isSea()) process.env['SALVAGE_PROGRAM'] ??= called;

if (first === pluginProgram) process.argv.splice(2, 1);
if (first === pluginProgram || basename(called) === pluginProgram) void import('./age-plugin-pkcs11.ts');
else void import('./main.ts');
