#!/usr/bin/env node
// browser.mjs - a headless "browser" for OAuth logins, Node >= 18, no dependencies.
//
// As a command (usable as $BROWSER, xdg-open, open):  browser.mjs URL
//   returns at once and walks in the background, as a desktop's browser launcher does. BROWSER_FOREGROUND=1: waits, exit code tells.
// As a library:  import { browse, Jar } from './browser.mjs';  const r = await browse(url, { redirectUri, deliver: false });
//   r.callback (URL that reached the redirect URI), r.params (its query), r.hops, r.error; o.before(url) is awaited ahead of each request,
//   o.onAnswer(url, what, text) sees each answer
//
// What it does: follows redirects one hop at a time with a cookie jar; submits login forms (BROWSER_USER, BROWSER_PASSWORD) and consent
// forms (the first form with an approve/allow/authorize/... button, all hidden fields); follows meta refresh, script redirects and
// "continue" links; retries the loopback callback until the client listens.
// What it imitates of a real browser, because servers depend on it:
//   Origin on POST ("null" under Referrer-Policy: no-referrer), Referer, Sec-Fetch-Site/Mode/Dest/User, cookie Path/Domain/Secure/SameSite/
//   __Host-/__Secure- rules (Secure accepted on loopback http, ports ignored), CSP form-action for the submitted form and, as Chromium does,
//   for each redirect that follows from it, no credentials for another origin, 303/302 turn POST into GET, 307/308 keep it.
// Environment: BROWSER_USER (alice), BROWSER_PASSWORD (alice-pw), BROWSER_LOG (file, one line a hop), BROWSER_JAR (file: cookies kept
//   between runs, so a second login meets the same session), BROWSER_DENY=1 (press deny instead), BROWSER_TIMEOUT (60 s),
//   BROWSER_CSP=warn (log a form-action violation and go on; default: stop, as Chromium), BROWSER_LOG_FULL=1 (do not shorten secrets),
//   BROWSER_SAVE=dir (every page body is kept there), BROWSER_STOP=1 (do not GET the callback), BROWSER_OPENED=file (one line a start)
import http from 'node:http';
import https from 'node:https';
import fs from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const E = process.env;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const loop = (h) => /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\]|::1)$/.test(h);
const SECRET = /([?&](?:code|state|code_challenge|nonce|access_token|id_token|refresh_token|session_code|execution|tab_id|client_data|txn_id|ticket|csrf_token)=)([^&#]{9,})/g;
export const shorten = (s) => (E.BROWSER_LOG_FULL ? s : String(s).replace(SECRET, (_, k, v) => k + v.slice(0, 6) + '..'));

// ---------------------------------------------------------------- cookies
export class Jar {
  constructor(file) { this.file = file; this.c = []; try { this.c = JSON.parse(fs.readFileSync(file, 'utf8')); } catch {} }
  save() { if (this.file) fs.writeFileSync(this.file, JSON.stringify(this.c), { mode: 0o600 }); }
  set(url, line, note) {
    const parts = line.split(';'), eq = parts[0].indexOf('=');
    if (eq < 0) return;
    const k = { name: parts[0].slice(0, eq).trim(), value: parts[0].slice(eq + 1).trim(), host: url.hostname, hostOnly: true, path: url.pathname.replace(/\/[^/]*$/, '') || '/', secure: false, sameSite: 'lax' };
    for (const p of parts.slice(1)) {
      const i = p.indexOf('='), n = (i < 0 ? p : p.slice(0, i)).trim().toLowerCase(), v = i < 0 ? '' : p.slice(i + 1).trim();
      if (n === 'domain' && v) { k.host = v.replace(/^\./, '').toLowerCase(); k.hostOnly = false; }
      else if (n === 'path' && v.startsWith('/')) { k.path = v; k.hasPath = true; }
      else if (n === 'secure') k.secure = true;
      else if (n === 'httponly') k.httpOnly = true;
      else if (n === 'samesite') k.sameSite = v.toLowerCase();
      else if (n === 'max-age') k.exp = Date.now() + 1000 * Number(v);
      else if (n === 'expires' && k.exp === undefined) k.exp = Date.parse(v);
    }
    const trust = url.protocol === 'https:' || loop(url.hostname);
    let bad;
    if (!k.hostOnly && url.hostname !== k.host && !url.hostname.endsWith('.' + k.host)) bad = 'foreign Domain';
    if (k.secure && !trust) bad = 'Secure over http';
    if (k.sameSite === 'none' && !k.secure) bad = 'SameSite=None without Secure';
    if (k.name.startsWith('__Secure-') && !k.secure) bad = '__Secure- without Secure';
    if (k.name.startsWith('__Host-') && (!k.secure || !k.hostOnly || k.path !== '/' || !k.hasPath)) bad = '__Host- needs Secure, Path=/ and no Domain';
    if (bad) { note(`COOKIE REFUSED ${k.name}: ${bad}`); return; }
    this.c = this.c.filter((o) => !(o.name === k.name && o.host === k.host && o.path === k.path));
    if (k.exp === undefined || k.exp > Date.now()) this.c.push(k);
  }
  header(url, { crossSite, method }) {
    const now = Date.now(), trust = url.protocol === 'https:' || loop(url.hostname);
    this.c = this.c.filter((k) => k.exp === undefined || k.exp === null || k.exp > now);
    return this.c.filter((k) => (k.hostOnly ? url.hostname === k.host : url.hostname === k.host || url.hostname.endsWith('.' + k.host))
      && (url.pathname === k.path || url.pathname.startsWith(k.path.endsWith('/') ? k.path : k.path + '/'))
      && (!k.secure || trust)
      && !(crossSite && (k.sameSite === 'strict' || (k.sameSite === 'lax' && method !== 'GET'))))
      .sort((a, b) => b.path.length - a.path.length).map((k) => `${k.name}=${k.value}`).join('; ');
  }
}

// ---------------------------------------------------------------- HTML
const ent = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };
const dec = (s) => s.replace(/&(#x[0-9a-f]+|#\d+|\w+);/gi, (m, e) => (e[0] === '#' ? String.fromCodePoint(e[1].toLowerCase() === 'x' ? parseInt(e.slice(2), 16) : Number(e.slice(1))) : ent[e.toLowerCase()] ?? m));
const attrs = (s) => { const o = {}; for (const m of s.matchAll(/([^\s=/>"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) o[m[1].toLowerCase()] ??= dec(m[2] ?? m[3] ?? m[4] ?? ''); return o; };
export const text = (h) => dec(h.replace(/<(script|style|head)\b[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ').trim();
export function forms(html) {
  html = html.replace(/<!--[\s\S]*?-->/g, '');
  return [...html.matchAll(/<form\b((?:[^>"']|"[^"]*"|'[^']*')*)>([\s\S]*?)(?:<\/form>|$)/gi)].map((m) => {
    const f = { ...attrs(m[1]), fields: [], buttons: [] };
    const outer = f.id ? [...html.matchAll(/<(?:input|button)\b[^>]*\bform\s*=\s*["']?([\w-]+)[^>]*>(?:[\s\S]*?<\/button>)?/gi)].filter((x) => x[1] === f.id && !m[2].includes(x[0])).map((x) => x[0]).join('') : '';
    for (const x of (m[2] + outer).matchAll(/<input\b((?:[^>"']|"[^"]*"|'[^']*')*)>|<(button|select|textarea)\b((?:[^>"']|"[^"]*"|'[^']*')*)>([\s\S]*?)<\/\2>/gi)) {
      const e = x[2] ? [0, x[2], x[3], x[4]] : [0, 'input', x[1], ''], a = attrs(e[2]), tag = e[1].toLowerCase(), type = (a.type || (tag === 'button' ? 'submit' : 'text')).toLowerCase();
      if ('disabled' in a) continue;
      if (tag === 'button' || type === 'submit' || type === 'image') { if (type === 'submit' || type === 'image') f.buttons.push({ ...a, label: tag === 'button' ? text(e[3] || '') : a.value || a.alt || '' }); continue; }
      if (type === 'button' || type === 'reset' || type === 'file') continue;
      if (tag === 'select') { const os = [...(e[3] || '').matchAll(/<option\b([^>]*)>/gi)].map((o) => attrs(o[1])); a.value = (os.find((o) => 'selected' in o) || os[0] || {}).value ?? ''; }
      if (tag === 'textarea') a.value = dec(e[3] || '');
      f.fields.push({ ...a, type });
    }
    return f;
  });
}
const YES = /\b(approve|allow|authori[sz]e|accept|consent|grant|agree|confirm|yes|continue|proceed|connect|sign in|log ?in)\b/i;
const NO = /\b(deny|cancel|reject|decline|refuse|disallow|no|back|abort)\b/i;
const press = (b, re) => re.test(b.label) || re.test(b.value || '') || re.test(b.name || '') || re.test((b.id || '').replace(/[-_]/g, ' '));

// What a person would do on this page: a step {form, button} or {goto} or null (nothing: the last page)
function decide(html, url, st) {
  const fs_ = forms(html);
  const login = fs_.find((f) => f.fields.some((x) => x.type === 'password')) || fs_.find((f) => f.fields.some((x) => /^(username|login|email)$/i.test(x.name || '') && x.type !== 'hidden'));
  if (login) {
    if (st.logins++ >= 3) return { fail: 'login form again: ' + text(html).slice(0, 160) };
    for (const x of login.fields) {
      if (x.type === 'password') x.value = st.password;
      else if (/^(username|login|email|user)$/i.test(x.name || '')) x.value = st.user;
    }
    return { form: login, button: login.buttons.find((b) => !press(b, NO)) || login.buttons[0], why: 'login as ' + st.user };
  }
  if (st.deny) {
    for (const f of fs_) { const b = f.buttons.find((b) => press(b, NO)); if (b) return { form: f, button: b, why: 'deny' }; }
  }
  for (const f of fs_) { const b = f.buttons.find((b) => press(b, YES) && !press(b, NO)); if (b) return { form: f, button: b, why: 'consent' }; }
  const auto = fs_.length && /\.submit\(\)/.test(html);
  if (auto) return { form: fs_[0], why: 'self-submitting form' };
  const meta = [...html.matchAll(/<meta\b([^>]*)>/gi)].map((m) => attrs(m[1])).find((a) => /^refresh$/i.test(a['http-equiv'] || '') && /url=/i.test(a.content || ''));
  if (meta) return { goto: meta.content.replace(/^.*?url=\s*['"]?/i, '').replace(/['"]\s*$/, ''), why: 'meta refresh' };
  const js = html.match(/location(?:\.href)?\s*=\s*(["'])(.+?)\1/) || html.match(/location\.(?:replace|assign)\(\s*(["'])(.+?)\1/);
  if (js) return { goto: dec(js[2].replace(/\\u([0-9a-f]{4})/gi, (_, h) => String.fromCharCode(parseInt(h, 16))).replace(/\\(.)/g, '$1')), why: 'script' };
  if (fs_.length === 1 && fs_[0].buttons.length === 1 && !press(fs_[0].buttons[0], NO)) return { form: fs_[0], button: fs_[0].buttons[0], why: 'only button' };
  for (const m of html.matchAll(/<a\b([^>]*)>([\s\S]*?)<\/a>/gi)) {
    const a = attrs(m[1]); if (!a.href || a.href.startsWith('#') || /^(mailto|javascript):/i.test(a.href)) continue;
    const to = new URL(a.href, url).href;
    if ((st.redirectUri && to.startsWith(st.redirectUri)) || (YES.test(text(m[2])) && !NO.test(text(m[2])) && !st.seen.has(to))) return { goto: to, why: 'link "' + text(m[2]).slice(0, 40) + '"' };
  }
  return null;
}

// ---------------------------------------------------------------- CSP form-action (as Chromium: also for redirects after the submission)
function formAction(csp, page) {
  for (const p of csp || []) {
    const d = p.split(';').map((x) => x.trim().split(/\s+/)).find((x) => x[0].toLowerCase() === 'form-action');
    if (d) return (to) => d.slice(1).some((s) => {
      if (s === '*') return /^https?:$/.test(to.protocol);
      if (s.toLowerCase() === "'self'") return to.origin === page.origin;
      if (/^[a-z][a-z0-9+.-]*:$/i.test(s)) return to.protocol === s.toLowerCase() || (s.toLowerCase() === 'http:' && to.protocol === 'https:');
      const m = s.match(/^(?:([a-z][a-z0-9+.-]*):\/\/)?(\*\.)?([^/:]+|\[[^\]]+\])(?::(\d+|\*))?(\/.*)?$/i); if (!m) return false;
      const port = to.port || (to.protocol === 'https:' ? '443' : '80');
      return (!m[1] || m[1] + ':' === to.protocol) && (m[2] ? to.hostname.endsWith('.' + m[3]) : m[3] === '*' || to.hostname === m[3]) && (m[4] === '*' || (m[4] ? m[4] === port : /^(80|443)$/.test(port)));
    });
  }
  return null;
}

function request(url, { method, headers, body, timeout }) {
  return new Promise((ok, no) => {
    const q = (url.protocol === 'https:' ? https : http).request(url, { method, headers, timeout, agent: false }, (r) => {
      const b = []; let n = 0;
      r.on('data', (d) => { n += d.length; if (n < 4e6) b.push(d); });
      r.on('end', () => ok({ status: r.statusCode, headers: r.headers, cookies: r.headers['set-cookie'] || [], body: Buffer.concat(b).toString('utf8') }));
      r.on('error', no);
    });
    q.on('timeout', () => q.destroy(new Error('timeout')));
    q.on('error', no);
    q.end(body);
  });
}
const site = (u) => u.protocol + '//' + (loop(u.hostname) || /^[\d.]+$/.test(u.hostname) ? u.hostname : u.hostname.split('.').slice(-2).join('.'));

export async function browse(start, o = {}) {
  const st = { user: o.user ?? E.BROWSER_USER ?? 'alice', password: o.password ?? E.BROWSER_PASSWORD ?? 'alice-pw', deny: o.deny ?? !!E.BROWSER_DENY, logins: 0, seen: new Set(), redirectUri: o.redirectUri };
  const jar = o.jar || new Jar(E.BROWSER_JAR), hops = [], until = Date.now() + 1000 * Number(o.timeout ?? E.BROWSER_TIMEOUT ?? 60);
  const log = (s) => { const l = `${new Date().toISOString().slice(11, 23)} [${process.pid}] ${shorten(s)}`; hops.push(l); if (E.BROWSER_LOG) fs.appendFileSync(E.BROWSER_LOG, l + '\n'); o.log?.(l); };
  const end = (r) => { jar.save(); log(r.error ? `END error: ${r.error}` : `END ${r.status ?? ''} ${r.callback ? 'callback reached' : 'last page'}`); return { ...r, hops, jar }; };
  let url = new URL(start), method = 'GET', body, type, initiator = null, page = null, policy = '', allowed = null, csite = 'none', callback;
  if (!st.redirectUri) st.redirectUri = url.searchParams.get('redirect_uri') || undefined;
  const isCb = (u) => { if (!st.redirectUri) return false; try { const r = new URL(st.redirectUri); return u.protocol === r.protocol && u.host === r.host && u.pathname === r.pathname; } catch { return false; } };
  log(`OPEN ${url.href}`);
  if (!/^https?:$/.test(url.protocol)) return end({ error: 'not an http(s) URL' });
  for (let hop = 0; hop < 40; hop++) {
    if (isCb(url) && (url.searchParams.has('code') || url.searchParams.has('error') || url.searchParams.has('state'))) {
      callback = url;
      if (o.deliver === false || E.BROWSER_STOP) { log(`CALLBACK ${url.href} (not delivered)`); return end({ callback, params: url.searchParams }); }
    }
    if (!/^https?:$/.test(url.protocol)) return end({ error: `left http(s): ${url.href}`, callback: url, params: url.searchParams });
    // Sec-Fetch-Site: the worst relation of the initiator to any URL of the redirect chain
    if (initiator) { const rel = initiator.origin === url.origin ? 'same-origin' : site(initiator) === site(url) ? 'same-site' : 'cross-site'; const w = ['same-origin', 'same-site', 'cross-site']; csite = csite === 'none' ? rel : w[Math.max(w.indexOf(csite), w.indexOf(rel))]; }
    const crossSite = csite === 'cross-site';
    const h = { host: url.host, 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 browser.mjs', accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'accept-language': 'en', 'upgrade-insecure-requests': '1', 'sec-fetch-site': csite, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', ...(csite === 'none' || page ? { 'sec-fetch-user': '?1' } : {}), connection: 'close' };
    if (initiator && policy !== 'no-referrer') {
      const down = initiator.protocol === 'https:' && url.protocol === 'http:', same = initiator.origin === url.origin;
      if (!down && !(policy === 'same-origin' && !same)) h.referer = same && !/^(strict-)?origin$/.test(policy) ? initiator.href.split('#')[0] : initiator.origin + '/';
    }
    if (method !== 'GET') {
      h.origin = !initiator || policy === 'no-referrer' || (policy === 'same-origin' && initiator.origin !== url.origin) ? 'null' : initiator.origin;
      h['content-type'] = type; h['content-length'] = Buffer.byteLength(body);
    }
    const ck = jar.header(url, { crossSite, method });
    if (ck) h.cookie = ck;
    let r;
    await o.before?.(url);
    for (let t = 0; ; t++) {
      try { r = await request(url, { method, headers: h, body, timeout: 20000 }); break; } catch (e) {
        const refused = /ECONNREFUSED|ECONNRESET|EPIPE/.test(e.code || '') && loop(url.hostname);
        if (!refused || Date.now() > until || (callback === undefined && t > 20)) { log(`FAIL ${method} ${url.href} ${e.code || e.message}`); return end({ error: `${url.host}: ${e.code || e.message}`, callback, params: callback?.searchParams }); }
        if (t === 0) log(`WAIT ${url.host} ${e.code}`);
        await sleep(200);
      }
    }
    for (const c of r.cookies) jar.set(url, c, log);
    o.onAnswer?.(url, `${method} ${url.pathname}`, JSON.stringify(r.headers) + r.body);
    st.seen.add(url.href);
    const loc = r.headers.location;
    log(`${r.status} ${method} ${url.href}${loc ? ' -> ' + loc : ''}${callback === url ? ' (callback)' : ''}`);
    if (E.BROWSER_SAVE && r.body) fs.writeFileSync(path.join(E.BROWSER_SAVE, `${process.pid}-${String(hop).padStart(2, '0')}-${r.status}.html`), r.body);
    if (loc && r.status >= 300 && r.status < 400) {
      const to = new URL(loc, url);
      if (allowed && !allowed(to)) { log(`CSP form-action forbids the redirect to ${to.origin === 'null' ? to.protocol : to.origin}`); if (E.BROWSER_CSP !== 'warn') return end({ error: 'CSP form-action blocks the redirect after the form', callback }); }
      if (![307, 308].includes(r.status) && method !== 'GET') { method = 'GET'; body = undefined; }
      if (r.headers['referrer-policy']) policy = r.headers['referrer-policy'].split(',').pop().trim();
      if (!to.hash && url.hash) to.hash = url.hash;
      url = to; page = null;
      continue;
    }
    if (callback === url) return end({ callback, params: url.searchParams, status: r.status, body: r.body, ...(r.status >= 400 ? { error: `callback answered ${r.status}: ${text(r.body).slice(0, 200)}` } : {}) });
    if (r.headers.refresh && /url=/i.test(r.headers.refresh)) { initiator = url; policy = ''; csite = 'none'; method = 'GET'; allowed = null; url = new URL(r.headers.refresh.replace(/^.*?url=\s*/i, ''), url); log('refresh header'); continue; }
    if (!/html/i.test(r.headers['content-type'] || '')) return end({ error: `stopped at ${r.status} ${r.headers['content-type'] || ''}: ${r.body.slice(0, 200)}`, status: r.status });
    const step = decide(r.body, url, st);
    if (!step || step.fail) return end({ error: step?.fail || `stopped at ${r.status} "${text(r.body).slice(0, 200)}"`, status: r.status, body: r.body, callback });
    page = url; initiator = url; csite = 'none';
    policy = (r.headers['referrer-policy'] || [...r.body.matchAll(/<meta\b([^>]*)>/gi)].map((m) => attrs(m[1])).find((a) => a.name === 'referrer')?.content || '').split(',').pop().trim().toLowerCase();
    const csp = [r.headers['content-security-policy'], ...[...r.body.matchAll(/<meta\b([^>]*)>/gi)].map((m) => attrs(m[1])).filter((a) => /content-security-policy/i.test(a['http-equiv'] || '')).map((a) => a.content)].filter(Boolean).flatMap((x) => x.split(','));
    if (step.goto) { log(`  ${step.why}`); method = 'GET'; body = undefined; allowed = null; url = new URL(step.goto, page); continue; }
    const { form: f, button: b } = step, p = new URLSearchParams();
    for (const x of f.fields) { if (!x.name) continue; if (x.type === 'checkbox' || x.type === 'radio') { if ('checked' in x || ('required' in x && x.type === 'checkbox')) p.append(x.name, x.value ?? 'on'); } else p.append(x.name, x.value ?? ''); }
    if (b?.name) p.append(b.name, b.value ?? '');
    method = ((b && b.formmethod) || f.method || 'GET').toUpperCase();
    url = new URL((b && b.formaction) || f.action || page.href, page);
    log(`  ${step.why}: ${method} ${url.origin}${url.pathname} fields=[${[...p.keys()].join(',')}]${b ? ` button="${(b.label || '').slice(0, 40)}"` : ''}`);
    allowed = formAction(csp, page);
    if (allowed && !allowed(url)) { log(`CSP form-action forbids ${url.origin}`); if (E.BROWSER_CSP !== 'warn') return end({ error: 'CSP form-action blocks the form' }); }
    if (method === 'POST') { body = p.toString(); type = 'application/x-www-form-urlencoded'; } else { url.search = p.toString(); body = undefined; }
  }
  return end({ error: 'too many hops' });
}

// ---------------------------------------------------------------- command
if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const url = process.argv.slice(2).reverse().find((a) => /^[a-z][a-z0-9+.-]*:/i.test(a));
  if (!url) { console.error('usage: browser.mjs URL'); process.exit(2); }
  if (E.BROWSER_FOREGROUND || E.BROWSER_CHILD) {
    const r = await browse(url);
    if (E.BROWSER_FOREGROUND) { for (const l of r.hops) console.log(l); if (r.callback) console.log('CALLBACK ' + r.callback.href); }
    process.exit(r.error ? 1 : 0);
  }
  if (E.BROWSER_OPENED) fs.appendFileSync(E.BROWSER_OPENED, url + '\n');
  const c = spawn(process.execPath, [fileURLToPath(import.meta.url), url], { detached: true, stdio: 'ignore', env: { ...E, BROWSER_CHILD: '1', NODE_OPTIONS: '' } });
  c.unref();
  process.exit(0);
}
