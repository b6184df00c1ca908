// What the end-to-end stages share: hostedmcp as a process, an MCP client in the open, a proxy that reads along at the
// provider, and the search for secrets where they must not be.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { browse, Jar } from '../kit/browser.mjs';
export { browse, Jar };

export const { BIN, WORK, ARTEFACTS, KIT } = process.env;
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const clock = () => new Date().toISOString().slice(11, 19);

// ---------------------------------------------------------------- checks
let good = 0, bad = 0;
export const say = (s) => console.log(`${clock()} ${s}`);
// check counts and says; a stage goes on after a failure, so that one run shows all of them.
export function check(what, ok, detail = '') {
  if (ok) good++; else bad++;
  say(`${ok ? 'ok  ' : 'FAIL'} ${what}${ok ? '' : ': ' + String(detail).slice(0, 600)}`);
  return !!ok;
}
export const equal = (what, got, want) => check(what, got === want, `got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
// main runs a stage to its end and leaves with what it found.
export async function main(stage) {
  try { await stage(); } catch (e) { check('ran to its end', false, e.stack || e); }
  for (const s of open) await s.stop().catch(() => {});
  say(`${good} passed, ${bad} failed`);
  process.exit(bad ? 1 : 0);
}
const open = new Set();
export const closeAtEnd = (s) => { open.add(s); return s; };

// until waits for a condition, at most `seconds`; false = it did not come.
export async function until(cond, seconds = 60, every = 25) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(every)) if (await cond()) return true;
  return false;
}

// freePort is one that nobody listens on. It lies below those that the kernel hands out by itself: it is used later, and
// again after a restart.
export async function freePort() {
  for (;;) {
    const port = 20000 + Math.floor(12000 * Math.random()), s = http.createServer();
    if (given.has(port)) continue;
    const free = await new Promise((r) => s.once('error', () => r(false)).listen(port, '127.0.0.1', () => r(true)));
    if (!free) continue;
    given.add(port);
    await new Promise((r) => s.close(r));
    return port;
  }
}
const given = new Set();

// onceALife judges how often a token of `life` seconds was renewed since it was due: once, and once more for each life
// that has passed meanwhile on a slow machine.
export function onceALife(what, renewals, due, life) {
  const most = 1 + Math.floor((Date.now() - due) / 1000 / life);
  return check(what, renewals >= 1 && renewals <= most, `${renewals}, and ${most} would do`);
}

// ---------------------------------------------------------------- hostedmcp
const running = new Set();
process.on('exit', () => { for (const p of running) if (!p.ended) p.kill('SIGKILL'); });
for (const s of ['SIGTERM', 'SIGINT']) process.on(s, () => process.exit(143));

// Hosted is one hostedmcp with its configuration, file and log; kill and start as often as you like.
export class Hosted {
  static async make(name, sections) {
    const h = new Hosted();
    h.dir = path.join(WORK, name);
    fs.mkdirSync(h.dir, { recursive: true, mode: 0o700 });
    h.port = await freePort();
    h.url = `http://127.0.0.1:${h.port}`;
    h.data = path.join(h.dir, 'data');
    h.log = path.join(h.dir, 'hostedmcp.log');
    h.config = path.join(h.dir, 'config.toml');
    const metrics = await freePort();
    fs.writeFileSync(h.config, `public_url = "${h.url}"\nlisten = "127.0.0.1:${h.port}"\ndata_dir = "${h.data}"\n${sections.top || ''}\n`
      + `[metrics]\nlisten = "127.0.0.1:${metrics}"\n[log]\nformat = "json"\n${sections.rest(h)}`);
    h.starts = 0;
    closeAtEnd(h);
    await h.start();
    return h;
  }
  secretFile(secret) {
    const f = path.join(this.dir, 'client-secret');
    fs.writeFileSync(f, secret, { mode: 0o600 });
    return f;
  }
  async start() {
    const out = fs.openSync(this.log, 'a');
    this.p = spawn(BIN, ['-config', this.config], { cwd: this.dir, stdio: ['ignore', out, out] });
    fs.closeSync(out);
    running.add(this.p);
    const p = this.p;
    p.gone = new Promise((r) => this.p.once('exit', (code, signal) => { running.delete(p); r((p.ended = signal || `code ${code}`)); }));
    this.starts++;
    const up = await until(async () => {
      if (this.p.ended) throw new Error(`hostedmcp ended (${this.p.ended}): ${fs.readFileSync(this.log, 'utf8').slice(-800)}`);
      return (await fetch(this.url + '/healthz').catch(() => ({}))).ok;
    }, 60, 10);
    if (!up) throw new Error('hostedmcp does not answer after a minute');
  }
  // crash is kill -9 and a new start.
  async crash() {
    this.p.kill('SIGKILL');
    await this.p.gone;
    await this.start();
  }
  async stop() {
    open.delete(this);
    if (this.p.ended) return this.p.ended;
    this.p.kill('SIGTERM');
    const t = setTimeout(() => this.p.kill('SIGKILL'), 60000);
    const how = await this.p.gone;
    clearTimeout(t);
    return how;
  }
  // files returns the bytes of everything it wrote: store, log.
  files() {
    return [this.log, ...fs.readdirSync(this.data, { recursive: true }).map((f) => path.join(this.data, f)).filter((f) => fs.statSync(f).isFile())]
      .map((f) => [path.basename(f), fs.readFileSync(f)]);
  }
}

// ---------------------------------------------------------------- a client
const b64 = (b) => Buffer.from(b).toString('base64url');
// Client is a public MCP client that keeps every answer it got.
export class Client {
  constructor(hosted, name = 'ci client') { this.h = hosted; this.name = name; this.answers = []; this.n = 0; this.own = new Map(); }
  // before runs ahead of every request: a stage crashes the server in it.
  before = async () => {};
  async fetch(p, o = {}) {
    await this.before(p);
    const r = await fetch(this.h.url + p, { redirect: 'manual', ...o });
    const body = await r.text();
    this.answers.push([`${o.method || 'GET'} ${p}`, JSON.stringify([...r.headers]) + body]);
    return { status: r.status, headers: r.headers, body, json: () => JSON.parse(body) };
  }
  form(p, fields) { return this.fetch(p, { method: 'POST', body: new URLSearchParams(fields) }); }
  async register(redirect = `http://127.0.0.1:${this.port ??= 20000 + Math.floor(Math.random() * 9999)}/callback`) {
    this.redirect = redirect;
    const r = await this.fetch('/register', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ client_name: this.name, redirect_uris: [redirect] }) });
    if (r.status !== 201) throw new Error(`registration: ${r.status} ${r.body}`);
    this.id = r.json().client_id;
  }
  authorizeURL() {
    this.verifier = b64(randomBytes(32));
    this.state = b64(randomBytes(16));
    return `${this.h.url}/authorize?` + new URLSearchParams({ response_type: 'code', client_id: this.id, redirect_uri: this.redirect, state: this.state,
      resource: this.h.url + '/mcp', scope: 'mcp offline_access', code_challenge: createHash('sha256').update(this.verifier).digest('base64url'), code_challenge_method: 'S256' });
  }
  // authorize walks a headless browser through consent and sign-in and returns the query of the callback.
  async authorize(o = {}) {
    const r = await browse(this.authorizeURL(), { redirectUri: this.redirect, deliver: false, jar: o.jar || new Jar(), before: (u) => (u.origin === this.h.url ? this.before(u.pathname) : undefined), onAnswer: (u, what, text) => { if (u.origin === this.h.url) this.answers.push([what, text]); }, ...o });
    if (!r.params) throw new Error(`browser: ${r.error}\n${r.hops.join('\n')}`);
    return r.params;
  }
  async redeem(params) {
    if (params.get('error')) throw new Error(`authorization: ${params.get('error')} ${params.get('error_description')}`);
    return this.keep(await this.form('/token', { grant_type: 'authorization_code', code: params.get('code'), redirect_uri: this.redirect, client_id: this.id, code_verifier: this.verifier, resource: this.h.url + '/mcp' }));
  }
  async login(o) { await this.register(); return this.redeem(await this.authorize(o)); }
  async refresh(token = this.tokens.refresh_token) { return this.keep(await this.form('/token', { grant_type: 'refresh_token', refresh_token: token, client_id: this.id })); }
  // keep remembers the tokens of an answer; own lists all there ever were, which no file may hold in clear.
  keep(r) {
    if (r.status === 200) {
      this.tokens = r.json();
      this.own.set(this.tokens.access_token, 'our access token').set(this.tokens.refresh_token, 'our refresh token');
    }
    return r;
  }
  revoke() { return this.form('/revoke', { token: this.tokens.refresh_token, client_id: this.id }); }

  rpc(message, headers = {}) {
    return this.fetch('/mcp', { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', ...message }),
      headers: { authorization: `Bearer ${this.tokens.access_token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers } });
  }
  // tool calls a tool in one of the two protocol eras and returns { status, value }: value is the tool's own JSON.
  async tool(name, era = this.n++ % 2 ? 'modern' : 'legacy') {
    const params = { name, arguments: {} };
    let r;
    if (era === 'modern') {
      params._meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': { name: 'ci', version: '1' }, 'io.modelcontextprotocol/clientCapabilities': {} };
      r = await this.rpc({ id: 1, method: 'tools/call', params }, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': name });
    } else {
      const before = this.before; // a session ends with the process: its three requests belong together
      r = await this.rpc({ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'ci', version: '1' } } });
      if (r.status !== 200) return { status: r.status, body: r.body, headers: r.headers, era };
      const session = { 'mcp-session-id': r.headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' };
      this.before = async () => {};
      await this.rpc({ method: 'notifications/initialized' }, session);
      r = await this.rpc({ id: 2, method: 'tools/call', params }, session);
      this.before = before;
    }
    return { status: r.status, body: r.body, headers: r.headers, era, value: value(r) };
  }
}
// value digs the tool's result out of a JSON or event-stream body.
function value(r) {
  const lines = /event-stream/.test(r.headers.get('content-type') || '') ? r.body.split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5)) : [r.body];
  for (const l of lines.reverse()) {
    let m; try { m = JSON.parse(l); } catch { continue; }
    const x = m.result;
    if (!x || x.isError) continue;
    if (x.structuredContent) return x.structuredContent;
    const text = x.content?.find((c) => c.type === 'text')?.text;
    try { return JSON.parse(text); } catch { return text; }
  }
  return undefined;
}

// ---------------------------------------------------------------- reading along at the provider
// Tap stands between hostedmcp (and the browser) and the provider under a port of its own, hands everything on with
// the Host header as it came, so that the issuer is the tap's, and remembers token requests and the secrets in them
// (but while it is deaf: a stage's own questions).
export class Tap {
  static async make(target) {
    const t = closeAtEnd(new Tap());
    t.target = new URL(target); t.requests = []; t.secrets = new Map();
    t.server = http.createServer((q, a) => t.pass(q, a)).listen(0, '127.0.0.1');
    await new Promise((r) => t.server.once('listening', r));
    t.url = `http://127.0.0.1:${t.server.address().port}`;
    return t;
  }
  async stop() { open.delete(this); this.server.closeAllConnections(); await new Promise((r) => this.server.close(r)); }
  pass(q, a) {
    const sent = [];
    q.on('data', (d) => sent.push(d));
    const up = http.request({ host: this.target.hostname, port: this.target.port, method: q.method, path: q.url, headers: { ...q.headers, 'accept-encoding': 'identity', connection: 'close' } }, (r) => {
      const got = [];
      r.on('data', (d) => got.push(d));
      r.on('end', () => {
        const body = Buffer.concat(got);
        this.note(q, Buffer.concat(sent).toString(), r.statusCode, body.toString());
        a.writeHead(r.statusCode, Object.fromEntries(Object.entries(r.headers).filter(([k]) => !/^(transfer-encoding|connection|keep-alive|content-length)$/.test(k))));
        a.end(body);
      });
    });
    up.on('error', () => a.destroy());
    q.on('end', () => up.end(Buffer.concat(sent)));
  }
  note(q, sent, status, body) {
    if (this.deaf || q.method !== 'POST' || !/\/(token|revoke|revocation)(\/|$|\?)/.test(q.url)) return;
    const form = new URLSearchParams(sent), r = { path: q.url, grant: form.get('grant_type'), form, status };
    try { r.json = JSON.parse(body); } catch {}
    this.requests.push(r);
    for (const k of ['access_token', 'refresh_token', 'id_token']) if (r.json?.[k]) this.secrets.set(r.json[k], `the provider's ${k}`);
  }
  grants(type) { return this.requests.filter((r) => r.grant === type); }
}

// ---------------------------------------------------------------- secrets
// leaks looks for secrets in named texts or bytes: whole, their last 40 characters (a JWT's signature), and as hex.
export function leaks(places, secrets) {
  const found = [];
  for (const [where, content] of places) {
    const hay = Buffer.from(content);
    for (const [secret, what] of secrets) {
      const needles = [secret, secret.slice(-40), Buffer.from(secret).toString('hex'), Buffer.from(secret).toString('base64').slice(0, 60)];
      if (needles.some((n) => hay.includes(n))) found.push(`${what} in ${where}`);
    }
  }
  return found;
}
