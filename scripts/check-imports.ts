// Who may import whom. Layers: dns ← zones ← k8s; ops reads all three; commands, server.ts and main.ts wire them. And one
// door a package: the few files that may name it, so that replacing it is a change of one place. Types count as well,
// and so do `import()`, `require()` and a worker's `new URL('./x.ts', import.meta.url)`.
// As a program: prints each violation as file:line, and exits 1 if there is one.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** What the files under a folder of src/ must not import; a name without a slash at its end is a file. */
const FORBIDDEN: Readonly<Record<string, readonly string[]>> = {
  'src/dns/': ['src/zones/', 'src/k8s/', 'src/ops/', 'src/commands/', 'src/server.ts', 'src/main.ts'],
  'src/zones/': ['src/k8s/', 'src/ops/', 'src/commands/', 'src/server.ts', 'src/main.ts'],
  'src/k8s/': ['src/ops/', 'src/commands/', 'src/server.ts', 'src/main.ts'],
  'src/ops/': ['src/commands/', 'src/server.ts', 'src/main.ts'],
  'src/': ['test/', 'bench/', 'scripts/'],
};

/** The doors: a package, and the files or folders that may import it. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  '@kubernetes/client-node': ['src/k8s/credentials/credentials-child.ts', 'bench/'],
  chokidar: ['src/k8s/'],
  commander: ['src/main.ts', 'src/commands/'],
  'dns-packet': ['src/commands/', 'test/', 'bench/'],
  koffi: ['src/dns/ffi.ts'],
  'lru-cache': ['src/dns/'],
  pino: ['src/log.ts'],
  undici: ['src/k8s/api/api-client.ts', 'bench/', 'test/'],
  yaml: ['src/k8s/', 'src/config-file.ts', 'test/'],
};

const SCANNED = ['src', 'test', 'bench', 'scripts'];
const NOT_SCANNED = new Set(['node_modules', 'fixtures']);

interface Reference {
  readonly specifier: string;
  readonly line: number;
}

/** Every violation under `root`, each as `file:line: what`, in the order of files and lines. */
export function importViolations(root: string): string[] {
  const found: string[] = [];
  for (const file of SCANNED.flatMap((folder) => sourceFiles(root, folder))) {
    for (const { specifier, line } of references(file, readFileSync(path.join(root, file), 'utf8'))) {
      const reason = violation(file, specifier);
      if (reason !== null) found.push(`${file}:${String(line)}: ${reason}`);
    }
  }
  return found;
}

function violation(file: string, specifier: string): string | null {
  if (specifier.startsWith('.')) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    for (const [layer, targets] of Object.entries(FORBIDDEN)) {
      const hit = file.startsWith(layer) ? targets.find((name) => isWithin(target, name)) : undefined;
      if (hit !== undefined) return `${layer} must not import ${hit} (${specifier})`;
    }
    return null;
  }
  const name = packageName(specifier);
  const doors = Object.hasOwn(DOORS, name) ? DOORS[name] : undefined;
  if (doors === undefined || doors.some((door) => isWithin(file, door))) return null;
  return `${name} is imported only in ${doors.join(', ')}`;
}

function isWithin(file: string, name: string): boolean {
  return name.endsWith('/') ? file.startsWith(name) : file === name;
}

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function sourceFiles(root: string, folder: string): string[] {
  if (!existsSync(path.join(root, folder))) return [];
  return readdirSync(path.join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return NOT_SCANNED.has(entry.name) ? [] : sourceFiles(root, name);
      return /\.[cm]?[jt]s$/.test(entry.name) ? [name] : [];
    });
}

function references(file: string, text: string): Reference[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, false);
  const found: Reference[] = [];
  const visit = (node: ts.Node): void => {
    const named = specifierOf(node);
    if (named !== undefined && ts.isStringLiteralLike(named)) {
      const { line } = source.getLineAndCharacterOfPosition(named.getStart(source));
      found.push({ specifier: named.text, line: line + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The node that names a module, if `node` refers to one. */
function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node)) return ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
  if (ts.isExternalModuleReference(node)) return node.expression;
  if (ts.isCallExpression(node)) {
    const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
    // Whatever createRequire() gave is called require, or require.resolve, by everyone.
    const isRequire = /^require(\.resolve)?$/.test(dotted(node.expression));
    return isImport || isRequire ? node.arguments[0] : undefined;
  }
  if (ts.isNewExpression(node) && dotted(node.expression) === 'URL' && node.arguments?.length === 2) {
    const [specifier] = node.arguments;
    return specifier !== undefined && ts.isStringLiteralLike(specifier) && specifier.text.startsWith('.')
      ? specifier
      : undefined;
  }
  return undefined;
}

function dotted(node: ts.Expression): string {
  if (ts.isIdentifier(node)) return node.text;
  return ts.isPropertyAccessExpression(node) ? `${dotted(node.expression)}.${node.name.text}` : '';
}

if (import.meta.main) {
  const violations = importViolations(path.join(import.meta.dirname, '..'));
  for (const line of violations) console.error(line);
  process.exitCode = violations.length > 0 ? 1 : 0;
}
