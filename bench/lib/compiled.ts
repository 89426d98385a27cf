// The sources as JavaScript in a stage's folder, as the package ships them: a process that strips types itself carries
// the stripper in the main thread and in every worker (40 MB together), which no installed server does.

import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { environment, root } from './stage.ts';
import type { Stage } from './stage.ts';

const run = promisify(execFile);

/** Compiles src and bench; returns the folder that stands for the package's. */
export async function compile(stage: Stage): Promise<string> {
  const dir = stage.file('compiled');
  await mkdir(dir);
  await writeFile(path.join(dir, 'package.json'), '{ "type": "module" }');
  await symlink(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
  const project = path.join(dir, 'tsconfig.json');
  const compilerOptions = { rootDir: root, outDir: dir, noCheck: true, types: [] };
  const include = [path.join(root, 'src'), path.join(root, 'bench')];
  await writeFile(
    project,
    JSON.stringify({ extends: path.join(root, 'tsconfig.build.json'), compilerOptions, include }),
  );
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '-p', project], { env: environment() });
  return dir;
}
