// Seven public MCP servers of npm and PyPI, mounted over stdio in one hostedmcp and used by a real client in both eras:
// what they define leaves as they wrote it, calls do what they do, their environment is what is configured and nothing
// else, and no process outlives hostedmcp.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { Client, Hosted, KIT, WORK, check, closeAtEnd, equal, freePort, main, say, until } from './lib.mjs';

const SDK = path.join(KIT, 'sdk2/node_modules/@modelcontextprotocol/client');
const entry = JSON.parse(fs.readFileSync(path.join(SDK, 'package.json'), 'utf8')).exports['.'];
const sdk = await import(pathToFileURL(path.join(SDK, entry.import?.default ?? entry.import ?? entry.default ?? entry)).href);

// ---------------------------------------------------------------- the servers
const npm = (name, ...args) => [process.execPath, path.join(KIT, 'servers/node_modules/@modelcontextprotocol', `server-${name}`, 'dist/index.js'), ...args];
const pypi = (name, ...args) => [path.join(KIT, `py-server-${name}/bin/mcp-server-${name}`), ...args];

// servers by connector name: how to start one, its whole environment, and calls with a piece of what they return.
function servers(dir, page) {
  const note = path.join(dir, 'note.txt');
  return {
    fs: { command: npm('filesystem', dir), calls: [['write_file', { path: note, content: 'grüße' }, 'note.txt'], ['read_text_file', { path: note }, 'grüße']] },
    memory: { command: npm('memory'), env: { MEMORY_FILE_PATH: path.join(dir, 'memory.jsonl') },
      calls: [['create_entities', { entities: [{ name: 'Zoë', entityType: 'person', observations: ['likes tea'] }] }, ''], ['search_nodes', { query: 'tea' }, 'Zoë']] },
    everything: { command: npm('everything', 'stdio'), env: { CI_ONLY: 'yes' }, calls: [['echo', { message: 'hi' }, 'Echo: hi'], ['get-env', {}, 'CI_ONLY']] },
    thinking: { command: npm('sequential-thinking'), calls: [['sequentialthinking', { thought: 'a', nextThoughtNeeded: false, thoughtNumber: 1, totalThoughts: 1 }, 'thoughtNumber']] },
    time: { command: pypi('time', '--local-timezone', 'UTC'), calls: [['convert_time', { source_timezone: 'Europe/Berlin', time: '12:00', target_timezone: 'Asia/Tokyo' }, 'Asia/Tokyo']] },
    fetch: { command: pypi('fetch', '--ignore-robots-txt', '--allow-private-ips'), calls: [['fetch', { url: page }, 'a page of this computer']] },
    sqlite: { command: pypi('sqlite', '--db-path', path.join(dir, 'ci.db')),
      calls: [['create_table', { query: 'CREATE TABLE IF NOT EXISTS t (n INTEGER)' }, ''], ['write_query', { query: 'INSERT INTO t VALUES (9007199254740993)' }, '1'], ['read_query', { query: 'SELECT n FROM t LIMIT 1' }, '9007199254740993']] },
  };
}

const quoted = (s) => JSON.stringify(s);
const connectors = (all) => Object.entries(all).map(([name, s]) => `[[connector]]\nname = "${name}"\nkind = "mcp-stdio"\ncommand = [${s.command.map(quoted).join(', ')}]\n`
  + `env = { ${Object.entries(s.env || {}).map(([k, v]) => `${k} = ${quoted(v)}`).join(', ')} }\n`).join('');

// ---------------------------------------------------------------- definitions as text
const LISTS = { tools: 'tools/list', prompts: 'prompts/list', resources: 'resources/list', resourceTemplates: 'resources/templates/list' };
const META = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': { name: 'ci', version: '1' }, 'io.modelcontextprotocol/clientCapabilities': {} };
const HELLO = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'ci', version: '1' } };

const tight = (text) => text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1');
// items cuts the members of a list out of a result's text, so that not even the form of a number can differ unseen.
function items(text, key) {
  const t = tight(text), out = [], at = t.indexOf(`"${key}":[`);
  if (at < 0) return out;
  let depth = 0, from = 0;
  for (const m of t.slice(at + key.length + 3).matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    const i = at + key.length + 3 + m.index;
    if (m[0] === '{' || m[0] === '[') { if (++depth === 2) from = i; }
    else if (m[0] === '}' || m[0] === ']') { if (--depth === 1) out.push(t.slice(from, i + 1)); if (!depth) break; }
  }
  return out;
}

// alone asks a server itself, in one era; undefined = it does not speak it.
async function alone(server, modern) {
  const p = spawn(server.command[0], server.command.slice(1), { env: server.env || {}, stdio: ['pipe', 'pipe', 'ignore'] });
  const waiting = new Map();
  let rest = '', ids = 0;
  p.stdin.on('error', () => {});
  p.stdout.setEncoding('utf8').on('data', (d) => {
    const lines = (rest + d).split('\n');
    rest = lines.pop();
    for (const l of lines) { const id = JSON.parse(l).id; if (waiting.has(id)) waiting.get(id)(l); }
  });
  const ask = (method, params) => new Promise((ok, fail) => {
    const id = ++ids, t = setTimeout(() => fail(new Error(`no answer to ${method}`)), 120000);
    waiting.set(id, (l) => { clearTimeout(t); ok(l); });
    p.once('exit', () => { clearTimeout(t); ok('{"error":{}}'); });
    p.stdin.write(JSON.stringify({ jsonrpc: '2.0', id, method, params: modern ? { ...params, _meta: META } : params }) + '\n');
  });
  try {
    const hello = JSON.parse(modern ? await ask('server/discover', {}) : await ask('initialize', HELLO)).result;
    if (!hello || modern && !hello.supportedVersions?.includes('2026-07-28')) return undefined;
    if (!modern) p.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    const out = {};
    for (const [key, method] of Object.entries(LISTS)) out[key] = items(await ask(method, {}), key);
    return out;
  } finally { p.kill(); }
}

// listed reads all pages of a list through hostedmcp.
async function listed(client, key, modern, session) {
  const out = [];
  for (let cursor; ;) {
    const method = LISTS[key], params = { ...(cursor && { cursor }), ...(modern && { _meta: META }) };
    const headers = modern ? { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method } : session;
    const body = (await client.rpc({ id: 7, method, params }, headers)).body, text = body.slice(body.indexOf('{'));
    out.push(...items(text, key));
    cursor = JSON.parse(text).result?.nextCursor;
    if (!cursor) return out;
  }
}

async function session(client) {
  const r = await client.rpc({ id: 1, method: 'initialize', params: HELLO });
  const s = { 'mcp-session-id': r.headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' };
  await client.rpc({ method: 'notifications/initialized' }, s);
  return s;
}

async function fidelity(client, all) {
  const older = await session(client), ours = {};
  const names = Object.keys(all);
  await until(async () => { const t = (await listed(client, 'tools', false, older)).join(); return names.every((n) => t.includes(`"${n}__`)); }, 120, 500); // a session has children of its own
  for (const key of Object.keys(LISTS)) ours[key] = { legacy: await listed(client, key, false, older), modern: await listed(client, key, true) };
  let owned = 0;
  for (const [name, server] of Object.entries(all)) {
    const spoken = { legacy: await alone(server, false), modern: await alone(server, true) };
    const direct = spoken.modern || spoken.legacy; // definitions come in one era, the newer where it is spoken
    for (const era of ['legacy', 'modern']) {
      const wrong = [];
      let n = 0;
      for (const key of Object.keys(LISTS)) {
        const named = key === 'tools' || key === 'prompts', prefix = `"name":"${name}__`;
        const mine = named ? ours[key][era].filter((d) => d.includes(prefix)).map((d) => d.replace(prefix, '"name":"')) : ours[key][era];
        for (const d of direct[key]) if (!mine.includes(d)) wrong.push(`${key}: ${d.slice(0, 200)} is not among ${mine.length}: ${mine.find((m) => m.slice(0, 30) === d.slice(0, 30))?.slice(0, 300)}`);
        if (named) equal(`${name}: ${key} in the ${era} era`, mine.length, direct[key].length);
        n += direct[key].length;
      }
      check(`${name} (speaks ${spoken.modern ? 'both eras' : 'the older era'}): ${n} definitions leave as written, ${era} client`, n && !wrong.length, wrong.join('\n'));
      owned += era === 'modern' ? direct.tools.length : 0;
    }
  }
  equal('tools in all, with the two of our own', ours.tools.modern.length, owned + 2);
  check('every tool but ours has its prefix', ours.tools.modern.every((d) => /"name":"((fs|memory|everything|thinking|time|fetch|sqlite)__|whoami"|userinfo")/.test(d)));
}

// ---------------------------------------------------------------- calls by a real client
async function calls(hosted, client, all, mode) {
  const t = new sdk.StreamableHTTPClientTransport(new URL(hosted.url + '/mcp'), { requestInit: { headers: { authorization: `Bearer ${client.tokens.access_token}` } } });
  const c = new sdk.Client({ name: 'ci', version: '1' }, { versionNegotiation: { mode } });
  await c.connect(t);
  const era = c.getNegotiatedProtocolVersion();
  equal(`the client's version, ${mode}`, era, mode === 'auto' ? '2026-07-28' : '2025-11-25');
  let names = []; // children that are just started may need longer than a list waits for them
  await until(async () => {
    names = (await c.listTools(undefined, { cacheMode: 'refresh' })).tools.map((x) => x.name);
    return Object.keys(all).every((n) => names.some((x) => x.startsWith(`${n}__`)));
  }, 120, 500);
  for (const [name, server] of Object.entries(all)) {
    for (const [tool, args, want] of server.calls) {
      const r = await c.callTool({ name: `${name}__${tool}`, arguments: args }).catch((e) => ({ isError: true, content: String(e) }));
      check(`${era} ${name}__${tool}`, names.includes(`${name}__${tool}`) && !r.isError && JSON.stringify(r).includes(want), JSON.stringify(r));
    }
  }
  await c.close();
}

// offered waits until all servers are up.
async function offered(client, all) {
  let seen = '';
  check('all servers offer their tools', await until(async () => {
    seen = (await listed(client, 'tools', true)).join();
    return Object.keys(all).every((n) => seen.includes(`"${n}__`));
  }, 120, 500), seen);
}

// ---------------------------------------------------------------- processes
const stat = (pid) => { try { return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' '); } catch { return undefined; } };
const lives = (pid) => !['Z', undefined].includes(stat(pid)?.[0]);

// descendants are all processes below one, by /proc.
function descendants(root) {
  const all = fs.readdirSync('/proc').filter((d) => /^\d+$/.test(d)).map((pid) => [+pid, +stat(pid)?.[1]]), out = [];
  for (let level = [root]; level.length; out.push(...level)) level = all.filter(([, parent]) => level.includes(parent)).map(([pid]) => pid);
  return out;
}

function environments(hosted, all) {
  const allowed = (argv) => Object.values(all).find((s) => s.command.slice(1).every((a) => argv.includes(a)) && argv.some((a) => a === s.command[0] || a === s.command[1]))?.env || {};
  const wrong = [];
  const pids = descendants(hosted.p.pid);
  for (const pid of pids) {
    const read = (f) => { try { return fs.readFileSync(`/proc/${pid}/${f}`, 'utf8').split('\0').filter(Boolean); } catch { return []; } };
    const argv = read('cmdline'), want = Object.entries(allowed(argv)).map(([k, v]) => `${k}=${v}`);
    const got = read('environ'), odd = [...got.filter((e) => !want.includes(e)), ...want.filter((e) => !got.includes(e))];
    if (odd.length) wrong.push(`${argv.slice(0, 2).join(' ')}: ${odd.map((e) => e.split('=')[0])}`);
  }
  check(`${pids.length} children, each with the configured environment and nothing else`, pids.length >= Object.keys(all).length && !wrong.length, wrong.join('\n'));
  return pids;
}

await main(async () => {
  const page = http.createServer((q, a) => a.setHeader('content-type', 'text/plain').end('a page of this computer')).listen(0, '127.0.0.1');
  await new Promise((r) => page.once('listening', r));
  closeAtEnd({ stop: async () => page.close() });
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(WORK, 'files-'))), demo = await freePort();
  const all = servers(dir, `http://127.0.0.1:${page.address().port}/`);
  const hosted = await Hosted.make('servers', { rest: () => `[demo]\nlisten = "127.0.0.1:${demo}"\n${connectors(all)}` });
  const client = new Client(hosted);
  await client.login();
  await offered(client, all);
  await fidelity(client, all);
  for (const mode of ['legacy', 'auto']) await calls(hosted, client, all, mode);

  let pids = environments(hosted, all);
  const before = Date.now();
  equal('ended by SIGTERM', await hosted.stop(), 'code 0');
  check('SIGTERM leaves no process', await until(() => !pids.some(lives)), pids.filter(lives).map((p) => `${p} ${fs.readFileSync(`/proc/${p}/cmdline`)}`));
  say(`ended after ${Date.now() - before} ms`);

  await hosted.start();
  closeAtEnd(hosted);
  await client.refresh();
  await calls(hosted, client, all, 'auto');
  pids = descendants(hosted.p.pid);
  hosted.p.kill('SIGKILL');
  await hosted.p.gone;
  check(`kill -9 leaves none of ${pids.length}`, await until(() => !pids.some(lives)), pids.filter(lives).map((p) => `${p} ${fs.readFileSync(`/proc/${p}/cmdline`)}`));
  await hosted.start();
  await offered(client, all);

  // The clients of the kit, with their own login.
  for (const [name, tool, args] of [['go-sdk', 'sqlite__list_tables', '{}'], ['py-mcp', 'fs__list_allowed_directories', '{}'], ['ts-v1', 'everything__echo', '{"message":"hi"}']]) {
    const p = spawn(path.join(process.env.CI_DIR, 'kit/run-client.sh'), [name, hosted.url + '/mcp', tool, args], { env: { ...process.env, WORK: path.join(WORK, name), REFRESH: 'none' }, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    p.stdout.on('data', (d) => { out += d; });
    const code = await new Promise((r) => p.once('close', r));
    check(`${name} calls ${tool}`, code === 0, out);
  }
});
