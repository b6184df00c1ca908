// pages.mjs CHROMIUM   what a person meets, in Chromium: consent, sign-in, errors, my connections; see ../browser
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createRequire } from 'node:module';
import { ARTEFACTS, Client, Hosted, KIT, check, closeAtEnd, equal, freePort, main, say, until } from './lib.mjs';
import { instant } from './instant.mjs';

const require = createRequire(path.join(KIT, 'pages/'));
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const claude = 'https://claude.ai/oauth/claude-code-client-metadata';
const allow = 'button[name=answer][value=approve]', deny = 'button[name=answer][value=deny]', alice = 'button[name=user][value=alice]';
let chrome, app, landed;

main(async () => {
  chrome = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox', '--disable-gpu'] });
  closeAtEnd({ stop: () => chrome.close() });
  landed = await receiver();
  const demo = await freePort(), closed = await freePort(); // nobody listens there: metadata documents cannot be fetched
  app = await Hosted.make('demo', {
    rest: () => `[demo]\nlisten = "127.0.0.1:${demo}"\n[clients]\ncimd_proxy = "http://127.0.0.1:${closed}"\n`
      + `[[clients.registered]]\nid = "reports"\nname = "Nightly reports"\nredirect_uris = ["${landed.url}/known"]\n`,
  });
  for (const stage of [approve, denies, reload, back, tabs, keyboard, elsewhere, atOnce, connections, gallery]) {
    say(`--- ${stage.name}`);
    const context = await fresh();
    try { await stage(context); } catch (e) { check(stage.name, false, e.stack); await shot(context, stage.name); }
    equal('complaints of the browser', context.complaints.join(' | '), '');
    await context.close();
  }
});

// ---------------------------------------------------------------- means
// receiver is the program on this computer that waits for the answer.
async function receiver() {
  const r = { answers: [] };
  r.server = http.createServer((q, a) => {
    if (q.url.includes('state=')) r.answers.push(new URL(q.url, r.url).searchParams);
    a.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><html lang="en"><title>done</title><link rel="icon" href="data:,"><main><h1>done</h1></main>');
  }).listen(0, '127.0.0.1');
  await new Promise((ok) => r.server.once('listening', ok));
  r.url = `http://127.0.0.1:${r.server.address().port}`;
  closeAtEnd({ stop: async () => { r.server.closeAllConnections(); r.server.close(); } });
  return r;
}

// fresh is a browser that has been nowhere, and notes what it complains about (blocked by policy, not loaded).
async function fresh() {
  const context = await chrome.newContext({ locale: 'en-GB' });
  context.setDefaultTimeout(10000);
  context.complaints = [];
  context.on('console', (m) => { if (/Content Security Policy|Refused to|Failed to load resource(?!.*\b(40[0134]|503)\b)/.test(m.text())) context.complaints.push(m.text()); });
  return context;
}

async function program(name, redirect = `${landed.url}/callback`, server = app) {
  const c = new Client(server, name);
  await c.register(redirect);
  return c;
}

// answer waits for what the program was told after `act`.
async function answer(c, act) {
  const n = landed.answers.length;
  await act();
  if (!await until(() => landed.answers.length > n)) throw new Error('no answer came to the program');
  const q = landed.answers.at(-1);
  equal('state', q.get('state'), c.state);
  equal('iss', q.get('iss'), c.h.url);
  return q;
}

async function connected(c, q) {
  check('a code came', q.get('code'), q.toString());
  equal('and is redeemed', (await c.redeem(q)).status, 200);
}

const shot = async (context, name) => { for (const [i, p] of context.pages().entries()) await p.screenshot({ path: path.join(ARTEFACTS, `failed-${name}-${i}.png`) }).catch(() => {}); };

// ---------------------------------------------------------------- what people do
async function approve(context) {
  const c = await program('Visual editor'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  check('the question names the program', (await page.locator('h1').innerText()).includes('Visual editor'));
  check('nothing has focus', await page.evaluate(() => document.activeElement === document.body));
  await page.click(allow);
  await page.waitForSelector(alice);
  await connected(c, await answer(c, () => page.click(alice)));
  const cookies = await context.cookies(app.url);
  check('cookies are HttpOnly and Lax', cookies.length > 1 && cookies.every((k) => k.httpOnly && k.sameSite === 'Lax'), JSON.stringify(cookies.map((k) => [k.name, k.httpOnly, k.sameSite])));
}

async function denies(context) {
  const c = await program('Visual editor'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  equal('error', (await answer(c, () => page.click(deny))).get('error'), 'access_denied');
}

async function reload(context) {
  const c = await program('Reloader'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  await page.reload();
  await page.reload();
  await page.click(allow);
  await page.waitForSelector(alice);
  await page.reload();
  await page.fill('#username', 'alice');
  await page.fill('#password', 'wrong');
  await page.click('button.primary');
  await page.waitForSelector('#problem');
  await page.fill('#username', 'alice');
  await page.fill('#password', 'alice-pw');
  await connected(c, await answer(c, () => page.click('button.primary')));
}

async function back(context) {
  const c = await program('Hesitant'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  await page.click(allow);
  await page.waitForSelector(alice);
  await page.goBack();
  await page.waitForSelector(allow);
  await page.click(allow);
  await page.waitForSelector(alice);
  await connected(c, await answer(c, () => page.click(alice)));
  const n = landed.answers.length;
  await page.goBack().catch(() => {});
  check('back after the end answers something sensible', (await page.locator('body').innerText()).length > 20);
  await page.goBack().catch(() => {});
  if (await page.locator(allow).count()) {
    await page.click(allow);
    await page.waitForLoadState();
    check('Allow again leads on or says why not', await page.locator(`${alice}, code`).first().isVisible());
  }
  equal('no second answer came by itself', landed.answers.length, n);
}

async function tabs(context) {
  const a = await program('Tab one'), b = await program('Tab two');
  const one = await context.newPage(), two = await context.newPage();
  await one.goto(a.authorizeURL());
  await two.goto(b.authorizeURL());
  await one.click(allow);
  await one.waitForSelector(alice);
  await two.click(allow);
  await two.waitForSelector(alice);
  await connected(a, await answer(a, () => one.click(alice)));
  await connected(b, await answer(b, () => two.click(alice)));
}

// keyboard does everything without a mouse, and looks whether the focus can be seen.
async function keyboard(context) {
  const c = await program('Keyboard'), page = await context.newPage();
  const tabTo = async (selector) => {
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press('Tab');
      if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) {
        const ring = await page.evaluate(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1; });
        check(`focus is seen on ${selector}`, ring);
        return;
      }
    }
    throw new Error(`Tab does not reach ${selector}`);
  };
  await page.goto(c.authorizeURL());
  await tabTo(allow);
  await page.keyboard.press('Enter');
  await page.waitForSelector(alice);
  await tabTo('#username');
  await page.keyboard.type('alice');
  await tabTo('#password');
  await page.keyboard.type('alice-pw');
  await connected(c, await answer(c, () => page.keyboard.press('Enter')));
  await page.goto(c.authorizeURL());
  await tabTo(deny);
  equal('Deny by keyboard', (await answer(c, () => page.keyboard.press('Space'))).get('error'), 'access_denied');
}

// elsewhere: a callback link in another browser is refused, and spends nothing.
async function elsewhere(context) {
  const c = await program('Mover'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  await page.click(allow);
  await page.waitForSelector(alice);
  // the sign-in goes on in the same browser, but without following the last redirect
  const form = { token: await page.locator('input[name=token]').first().inputValue(), user: 'alice' }, provider = new URL(page.url()).origin;
  const signed = await context.request.post(provider + '/login', { form, headers: { origin: provider }, maxRedirects: 0 });
  const last = await context.request.get(new URL(signed.headers().location, provider).href, { maxRedirects: 0 });
  const callback = last.headers().location;
  check('the provider sends the browser back', callback?.startsWith(app.url + '/callback?'), callback);
  const other = await fresh(), there = await other.newPage();
  equal('in another browser', (await there.goto(callback)).status(), 403);
  await inspect(there, 'error-other-browser');
  await other.close();
  await connected(c, await answer(c, () => page.goto(callback)));
}

// atOnce: the provider answers by redirect at once, so that one press of Allow is one chain of redirects over three
// origins; browsers hold form-action against all of it (style.md, trap 6).
async function atOnce(context) {
  const provider = await instant('hostedmcp');
  const quick = await Hosted.make('quick', {
    top: 'insecure_loopback = true',
    rest: (h) => `[provider]\nissuer = "${provider}"\nclient_id = "hostedmcp"\nclient_secret_file = "${h.secretFile('quick-test-secret')}"\n`,
  });
  const c = await program('One press', undefined, quick), page = await context.newPage();
  await page.goto(c.authorizeURL());
  await connected(c, await answer(c, () => page.click(allow)));
  const p = await program('Private', 'cursor://anysphere.cursor-mcp/oauth/callback', quick);
  await page.goto(p.authorizeURL());
  let to;
  page.on('response', async (r) => { const l = (await r.allHeaders().catch(() => ({}))).location; if (l?.startsWith('cursor:')) to = l; });
  await page.click(allow, { noWaitAfter: true });
  check('a private-use scheme is reached through the provider', await until(() => to) && new URL(to).searchParams.get('code'), to);
  await quick.stop();
}

async function connections(context) {
  const page = await context.newPage();
  const one = await program('First program'), two = await program('Second program');
  for (const c of [one, two]) {
    await page.goto(c.authorizeURL());
    await page.click(allow);
    await page.waitForSelector(alice);
    await connected(c, await answer(c, () => page.click(alice)));
  }
  equal('a call', (await one.tool('whoami')).status, 200);
  await page.goto(app.url + '/status');
  await page.click('form[action="/signin"] button');
  await page.waitForSelector(alice);
  await page.click(alice);
  await page.waitForURL(app.url + '/status');
  await inspect(page, 'status');
  const living = () => page.locator('form[action="/grants/end"] input[name=id]').count();
  const before = await living();
  check('both programs are listed', before >= 2, before);
  await page.locator('article', { hasText: 'First program' }).locator('button.end').first().click();
  await page.waitForURL(app.url + '/status');
  equal('connections after End', await living(), before - 1);
  equal('the ended one\'s call', (await one.tool('whoami', 'legacy')).status, 401);
  equal('the other\'s call', (await two.tool('whoami', 'legacy')).status, 200);
  await page.click('form[action="/signout"] button');
  await page.waitForSelector('form[action="/signin"]');
}

// ---------------------------------------------------------------- how it looks
async function gallery(context) {
  const page = await context.newPage();
  const consent = async (name, c, params = {}) => {
    const u = new URL(c.authorizeURL());
    for (const [k, v] of Object.entries(params)) u.searchParams.set(k, v);
    await page.goto(u.href);
    await inspect(page, name);
  };
  await page.goto(app.url + '/');
  await inspect(page, 'landing');
  const local = await program('Visual editor');
  await consent('consent-loopback', local);
  await page.click(allow);
  await page.waitForSelector(alice);
  await inspect(page, 'demo-signin');
  await page.fill('#username', 'alice');
  await page.fill('#password', 'wrong');
  await page.click('button.primary');
  await page.waitForSelector('#problem');
  await inspect(page, 'demo-signin-failed');
  await consent('consent-https', await program('A program with a name that is quite long and goes on for a while, as some do', 'https://example.com/cb'));
  await consent('consent-private-use', await program('Cursor', 'cursor://anysphere.cursor-mcp/oauth/callback'));
  const known = new Client(app);
  Object.assign(known, { id: 'reports', redirect: `${landed.url}/known` });
  await consent('consent-known', known);
  const document = new Client(app);
  Object.assign(document, { id: claude, redirect: 'http://localhost:41999/callback' });
  await consent('consent-document', document);
  await page.goto(app.url + '/status');
  await inspect(page, 'status-signin');
  await page.click('form[action="/signin"] button');
  await page.waitForSelector(alice);
  await page.click('button[name=user][value=bob]');
  await page.waitForURL(app.url + '/status');
  await inspect(page, 'status-empty');
  const strange = await program('Stranger', 'https://example.com/cb');
  const wrong = new URL(strange.authorizeURL());
  wrong.searchParams.delete('code_challenge');
  for (const [name, url, status] of [
    ['error-client-unknown', '/authorize?response_type=code&client_id=nobody', 400],
    ['error-asked-wrongly', wrong.href, 400],
    ['error-not-found', '/nothing-here', 404],
    ['error-start-again', '/callback?code=x&state=AAAA.BBBB', 400],
  ]) {
    const r = await page.goto(new URL(url, app.url).href);
    equal(`${name}: status`, r.status(), status);
    check(`${name}: reason and request id are there`, /[a-z]+_[a-z]+/.test(await page.locator('footer code').innerText()) && (await page.locator('footer .mono').innerText()).length > 8);
    await inspect(page, name);
  }
}

// inspect looks at a page in light and dark, wide and on a phone: axe without violations, nothing cut off, a picture.
async function inspect(page, name) {
  const faults = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, viewport] of [['wide', { width: 1280, height: 900 }], ['phone', { width: 360, height: 740 }]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(viewport);
      await page.screenshot({ path: path.join(ARTEFACTS, `${name}-${size}-${colorScheme}.png`), fullPage: true });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wide > 0) faults.push(`${size}: ${wide} px too wide`);
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 120)}`)));
      faults.push(...found.map((f) => `${size} ${colorScheme}: ${f}`));
    }
  }
  if (await page.evaluate(() => document.querySelectorAll('script').length)) faults.push('there is a script');
  await page.setViewportSize({ width: 1280, height: 900 });
  check(`${name}: axe, width, no script`, !faults.length, faults.join(' | '));
}
