// The server scenarios of the public conformance suite against the go-sdk's everything-server, first alone, then mounted
// through hostedmcp without a prefix, over HTTP and over stdio. The suite knows nothing of logins: kit/bearer.mjs adds
// the access token. A scenario must pass through hostedmcp with as many checks as it passes alone.
import fs from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { bearer } from '../kit/bearer.mjs';
import { ARTEFACTS, Client, Hosted, KIT, WORK, check, closeAtEnd, equal, freePort, main, say, until } from './lib.mjs';

const SUITE = path.join(KIT, 'conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js');
const EVERYTHING = process.env.EVERYTHING;
// What the suite's requirement sets hold, so that none that shrinks passes unseen.
const SETS = { '2025-11-25': { scenarios: 30, checks: 70, all: 82 }, '2026-07-28': { scenarios: 37, checks: 121, all: 165 } };
// Its tool answers after 100 ms, before which our answer must have become a stream: on a machine that stood still
// meanwhile the suite finds nothing to check.
const HASTY = 'server-sse-polling';
// These want the server's own keys of several questions at once: the older era has one question a request, and no keys.
const NO_WORDS = ['input-required-result-basic-elicitation', 'input-required-result-multiple-input-requests', 'input-required-result-multi-round'];

// everything starts the server over HTTP; with sessions it can ask in mid-call, as the older era needs it.
async function everything(sessions) {
  const address = `127.0.0.1:${await freePort()}`;
  const p = spawn(EVERYTHING, [`-http=${address}`, `-stateless=${!sessions}`], { stdio: 'ignore' });
  closeAtEnd({ stop: async () => p.kill() });
  const url = `http://${address}/`;
  if (!await until(() => fetch(url).then(() => true, () => false))) throw new Error('the everything-server does not answer');
  return url;
}

// suite runs one requirement set and returns its exit code, the summary by scenario and what is not scored.
async function suite(name, url, set) {
  const log = path.join(ARTEFACTS, `${name}-${set}.log`), out = fs.openSync(log, 'w');
  const p = spawn('node', [SUITE, 'server', '--url', url, '--requirements', set, '-o', path.join(WORK, `checks-${name}`, set)], { cwd: WORK, stdio: ['ignore', out, out] });
  fs.closeSync(out);
  const code = await new Promise((r) => p.once('exit', r));
  const text = fs.readFileSync(log, 'utf8'), summary = text.slice(text.indexOf('=== SUMMARY ==='));
  const scenarios = new Map(), unscored = new Set();
  for (const [, n, passed, failed] of summary.matchAll(/^. ([\w-]+): (\d+) passed, (\d+) failed/gm)) scenarios.set(n, { passed: +passed, failed: +failed });
  for (const [, n] of summary.matchAll(/^ {2}. ([\w-]+) \([\w-]+\)$/gm)) unscored.add(n);
  return { code, scenarios, unscored };
}

// compare holds what came through hostedmcp against what the bare server reached.
function compare(name, set, got, bare) {
  const scored = [...got.scenarios].filter(([n]) => !got.unscored.has(n));
  const sum = (all, k) => all.reduce((n, [, s]) => n + s[k], 0);
  equal(`${name} ${set}: the suite's verdict`, got.code, 0);
  equal(`${name} ${set}: scored scenarios`, scored.length, SETS[set].scenarios);
  check(`${name} ${set}: ${sum(scored, 'passed')} scored checks pass, none fails`, sum(scored, 'failed') === 0 && sum(scored, 'passed') >= SETS[set].checks,
    JSON.stringify(scored.filter(([, s]) => s.failed)));
  const worse = [...bare.scenarios].filter(([n, s]) => (got.scenarios.get(n)?.passed ?? -1) < s.passed || got.scenarios.get(n).failed > s.failed);
  const all = sum([...got.scenarios], 'passed');
  check(`${name} ${set}: ${all} checks in all, nothing is worse than alone (${sum([...bare.scenarios], 'passed')})`, worse.length === 0 && all >= SETS[set].all,
    JSON.stringify(worse.map(([n, s]) => [n, 'alone', s, 'through hostedmcp', got.scenarios.get(n)])));
}

// mounted is hostedmcp with the server as its only connector; the URL is that of a proxy that knows a token for it.
async function mounted(name, connector) {
  let hosted, client;
  const proxy = await bearer(() => hosted.url, () => client.tokens.access_token);
  closeAtEnd({ stop: async () => proxy.close() });
  const demo = await freePort();
  hosted = await Hosted.make(name, { top: `allowed_hosts = ["${proxy.host}"]\nallowed_origins = ["${proxy.url}"]`,
    rest: () => `[demo]\nlisten = "127.0.0.1:${demo}"\n[[connector]]\nname = "everything"\nprefix = ""\n${connector}\n` });
  client = new Client(hosted, 'conformance suite');
  equal(`${name}: without a token`, (await client.fetch('/mcp', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).status, 401);
  await client.login();
  const tools = await listed(client);
  check(`${name}: the server's tools un-prefixed, and ours`, ['test_simple_text', 'whoami'].every((n) => tools.includes(n)), tools);
  return { hosted, url: `${proxy.url}/mcp` };
}

async function listed(client) {
  const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': { name: 'ci', version: '1' }, 'io.modelcontextprotocol/clientCapabilities': {} };
  const r = await client.rpc({ id: 1, method: 'tools/list', params: { _meta: meta } }, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' });
  return (JSON.parse(r.body.slice(r.body.indexOf('{'))).result?.tools || []).map((t) => t.name);
}

await main(async () => {
  const sessions = await everything(true), plain = await everything(false);
  const bare = { '2025-11-25': await suite('alone', sessions, '2025-11-25'), '2026-07-28': await suite('alone', plain, '2026-07-28') };
  for (const [set, b] of Object.entries(bare)) equal(`alone ${set}: the suite's verdict`, b.code, 0);
  const http = (url) => `kind = "mcp-http"\nurl = "${url}"`;
  const mounts = [
    // A server with sessions speaks the older era only, and one without has nobody to ask in it: alone neither passes
    // the other set.
    ['http-sessions', http(sessions), ['2025-11-25']],
    ['http-plain', http(plain), ['2026-07-28']],
    ['stdio', `kind = "mcp-stdio"\ncommand = ["${EVERYTHING}"]`, ['2025-11-25', '2026-07-28']],
  ];
  for (const [name, connector, sets] of mounts) {
    const { hosted, url } = await mounted(name, connector);
    for (const set of sets) {
      let got = await suite(name, url, set);
      if (got.scenarios.get(HASTY)?.passed === 0) {
        say(`${name} ${set}: ${HASTY} found no stream to check; once more`);
        got = await suite(name, url, set);
      }
      compare(name, set, got, bare[set]);
    }
    equal(`${name}: ended by SIGTERM`, await hosted.stop(), 'code 0');
  }
  // Newer clients of an older server: calls that ask wait at hostedmcp, and some are left waiting.
  const { hosted, url } = await mounted('http-older', http(sessions));
  const got = await suite('http-older', url, '2026-07-28');
  const failing = [...got.scenarios].filter(([n, s]) => s.failed && !got.unscored.has(n)).map(([n]) => n);
  check('http-older 2026-07-28: all passes but what the older era has no words for', failing.every((n) => NO_WORDS.includes(n)) && got.scenarios.size === bare['2026-07-28'].scenarios.size, failing);
  equal('http-older: ended by SIGTERM while calls wait', await hosted.stop(), 'code 0');
});
