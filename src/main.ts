// The command line: what can be typed, and which file runs it; one lazy import a command. Values are checked where they
// become a Config (config.ts). Exit codes: 0 success, 1 the thing asked for failed, 2 usage or configuration, in one line.

import { Command, CommanderError, Option } from 'commander';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UsageError } from './usage.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = (text: string): void => void process.stdout.write(text);

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  // `query … | head` is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  let code = 0;
  const program = createProgram((exitCode) => (code = exitCode));
  try {
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    // Commander has printed its line already; its own code for a wrong flag is 1.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`clusterset-dns: ${error.message.replaceAll(/\p{Cc}/gu, '?')}\n`);
    return 2;
  }
}

function createProgram(end: (exitCode: number) => void): Command {
  const program = new Command('clusterset-dns')
    .description('An authoritative DNS server for the Kubernetes multi-cluster zone clusterset.local')
    .addOption(new Option('-V, --version', 'print the version, the commit and the Node that runs it'))
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [COMMAND]', 'print help for a command')
    .exitOverride()
    .configureOutput({
      writeOut: out,
      outputError: (text, write) =>
        write(
          `clusterset-dns: ${text
            .trim()
            .replace(/^error: /, '')
            .replace(/\s*\n\s*/g, ' ')}\n`,
        ),
    });
  program.on('option:version', () => {
    out(versionLine());
    throw new CommanderError(0, 'commander.version', '');
  });
  addServe(program, end);
  addCheck(program, end);
  addQuery(program, end);
  addDump(program, end);
  addExamples(program, [
    ['clusterset-dns serve --lab examples/lab', 'serve a lab fleet on 127.0.0.1:1053'],
    ['clusterset-dns query web.shop.svc.clusterset.local', 'ask it'],
    ['clusterset-dns help serve', 'every flag of a command'],
  ]);
  return program;
}

function addServe(program: Command, end: (exitCode: number) => void): void {
  const command = program
    .command('serve')
    .description('serve the zone over UDP and TCP')
    .option('--config <FILE>', 'a configuration file, which names the clusters; flags win over its keys')
    .option('--lab <DIR>', 'a lab fleet: each folder in DIR is a member cluster')
    .option('--kubeconfig <FILE>', 'watch the cluster of its current context (default: $KUBECONFIG, ~/.kube/config)')
    .option('--context <NAME[=CLUSTER-ID]>', 'watch the cluster of this context instead; repeatable', collect)
    .option('--all-contexts', 'watch the cluster of every context of the kubeconfig')
    .option('--in-cluster [CLUSTER-ID]', 'watch the cluster this server runs in')
    .option(
      '--listen <ADDR:PORT>',
      'answer here, UDP and TCP; repeatable (default: 0.0.0.0:1053 and [::]:1053; with a lab alone 127.0.0.1:1053)',
      collect,
    )
    .option(
      '--admin <ADDR:PORT>',
      'HTTP for /health and /ready, or off (default: 0.0.0.0:9153; with a lab alone 127.0.0.1:9153)',
    );
  addZoneOptions(command)
    .option('--workers <N>', 'UDP threads in total, 1 to 32 (default: from the CPU quota, 1 to 4)')
    .option('--udp <ENGINE>', 'auto, mmsg or dgram (default: auto)')
    .option('--lameduck <TIME>', 'answer on for this long after SIGTERM, such as 5s, 500ms or 0 (default: 5s)')
    .option('--state-dir <DIR>', 'keep the last known state here across restarts')
    .option('--log-level <LEVEL>', 'error, warn, info or debug (default: info)')
    .option('--log-format <FORMAT>', 'text or json (default: text on a terminal, else json)')
    .action(async () => end(await (await import('./commands/serve.ts')).serve(command.opts())));
  addExamples(command, [
    ['clusterset-dns serve --lab examples/lab', ''],
    ['clusterset-dns serve --lab lab --listen 0.0.0.0:53 --listen [::]:53 --admin 0.0.0.0:9153', ''],
    ['clusterset-dns serve --context cluster-a --context admin@b=cluster-b', 'two clusters of your kubeconfig'],
    ['clusterset-dns serve --kubeconfig fleet.yaml --all-contexts --zone fleet.example', ''],
    ['clusterset-dns serve --in-cluster cluster-a --state-dir /var/lib/clusterset-dns', 'in a pod'],
    ['clusterset-dns serve --config /etc/clusterset-dns/config.yaml --log-level debug', 'a fleet'],
  ]);
}

function addCheck(program: Command, end: (exitCode: number) => void): void {
  const command = program
    .command('check')
    .description('look for mistakes in a fleet: what is left out of the zone, and why')
    .option('--lab <DIR>', 'a lab fleet: each folder in DIR is a member cluster')
    .option('--strict', 'a warning fails too')
    .option('-o, --output <FORMAT>', 'text or json (default: text)')
    .action(async () => {
      const { parseCheckFlags } = await import('./config.ts');
      const options = parseCheckFlags(command.opts());
      end(await (await import('./commands/check.ts')).check(options, out));
    });
  addExamples(command, [
    ['clusterset-dns check --lab examples/lab', ''],
    ['clusterset-dns check --lab lab --strict -o json', 'in a pipeline'],
  ]);
}

function addQuery(program: Command, end: (exitCode: number) => void): void {
  const command = program
    .command('query')
    .usage('[@SERVER] NAME [TYPE] [+short] [+tcp] [+norec] [+noedns] [+bufsize=N] [options]')
    .description("ask a DNS server, with dig's words and dig's layout")
    .argument('[WORDS...]', '@SERVER (default: 127.0.0.1), NAME, TYPE (default: A), and words that begin with +')
    .option('-p, --port <PORT>', 'port of the server, where @SERVER#PORT does not say (default: 1053)')
    .option('-o, --output <FORMAT>', 'text or json (default: text)')
    .action(async (words: string[]) => {
      end(await (await import('./commands/query.ts')).query(words, command.opts(), out));
    });
  addExamples(command, [
    ['clusterset-dns query web.shop.svc.clusterset.local', ''],
    ['clusterset-dns query @10.96.0.53 -p 53 _http._tcp.web.shop.svc.clusterset.local SRV', ''],
    ['clusterset-dns query @::1#1053 web.shop.svc.clusterset.local AAAA +short +tcp', ''],
  ]);
}

function addDump(program: Command, end: (exitCode: number) => void): void {
  const command = program
    .command('dump')
    .description('print the zone as a master file that Knot, NSD and BIND load')
    .option('--lab <DIR>', 'a lab fleet: each folder in DIR is a member cluster');
  addZoneOptions(command)
    .option('-o, --output <FORMAT>', 'text or json (default: text)')
    .action(async () => {
      const { parseDumpFlags } = await import('./config.ts');
      const options = parseDumpFlags(command.opts());
      end(await (await import('./commands/dump.ts')).dump(options, out));
    });
  addExamples(command, [
    ['clusterset-dns dump --lab examples/lab > clusterset.local.zone', ''],
    ['clusterset-dns dump --lab examples/lab -o json', ''],
  ]);
}

function addZoneOptions(command: Command): Command {
  return command
    .option('--zone <NAME>', 'the zone (default: clusterset.local)')
    .option('--ttl <SECONDS>', 'TTL of records, 0 to 3600 (default: 5)')
    .option('--negative-ttl <SECONDS>', 'how long a negative answer may be kept, 0 to 3600 (default: 5)');
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function addExamples(command: Command, examples: readonly (readonly [typed: string, does: string])[]): void {
  const lines = examples.map(([typed, does]) => `  $ ${typed}${does === '' ? '' : `  # ${does}`}`);
  command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/** Version, commit where this is a git checkout, and Node. */
function versionLine(): string {
  const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string };
  let commit = '';
  if (existsSync(`${root}.git`)) {
    try {
      const stdio: 'pipe'[] = ['pipe', 'pipe', 'pipe'];
      commit = execFileSync('git', ['-C', root, 'rev-parse', '--short=12', '--verify', 'HEAD'], {
        encoding: 'utf8',
        stdio,
      });
    } catch {
      // No git on this machine, or no commit yet.
    }
  }
  return `clusterset-dns ${version}${commit === '' ? '' : ` (commit ${commit.trim()})`}, Node ${process.version}\n`;
}
