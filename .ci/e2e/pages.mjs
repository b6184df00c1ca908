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
const allow = 'button[name=answer][value=approve]', deny = 'button[name=answer][value=deny]', user = (name) => `button[name=user][value=${name}]`, alice = user('alice');
const people = { alice: 'sales', bob: 'finance', olga: 'operators' };
let chrome, app, landed;

main(async () => {
  chrome = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox', '--disable-gpu'] });
  closeAtEnd({ stop: () => chrome.close() });
  landed = await receiver();
  const demo = await freePort(), closed = await freePort(); // nobody listens there: metadata documents cannot be fetched
  app = await Hosted.make('demo', {
    top: 'name = "Example Corp data"',
    rest: () => `[access]\noperators = ["operators"]\n[limits]\nregister_per_hour = 1000\nconsent_per_minute = 1000\n[demo]\nlisten = "127.0.0.1:${demo}"\n`
      + Object.entries(people).map(([n, group]) => `[[demo.users]]\nname = "${n}"\npassword = "${n}-pw"\nemail = "${n}@example.com"\ngroups = ["${group}"]\n`).join('')
      + `[clients]\ncimd_proxy = "http://127.0.0.1:${closed}"\n`
      + `[[clients.registered]]\nid = "reports"\nname = "Nightly reports"\nredirect_uris = ["${landed.url}/known"]\n`,
  });
  for (const stage of [approve, denies, reload, back, tabs, keyboard, elsewhere, atOnce, connections, forged, operators, manyPages, byKeys, gallery]) {
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
  const context = await chrome.newContext({ locale: 'en-GB', reducedMotion: 'reduce' });
  context.setDefaultTimeout(60000);
  context.complaints = [];
  context.on('console', (m) => { if (/Content Security Policy|Refused to|Failed to load resource(?!.*\b(40[0134]|503)\b)/.test(m.text())) context.complaints.push(m.text()); });
  return context;
}

async function program(name, redirect = `${landed.url}/callback`, server = app) {
  const c = new Client(server, name);
  await c.register(redirect);
  return c;
}

// answer waits for what the program was told after `act`, and until the browser shows the program's page: one that is
// still on its way there goes nowhere else.
async function answer(c, page, act) {
  const n = landed.answers.length;
  await act();
  if (!await until(() => landed.answers.length > n)) throw new Error('no answer came to the program');
  await page.waitForSelector('h1:text-is("done")');
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
  await connected(c, await answer(c, page, () => page.click(alice)));
  const cookies = await context.cookies(app.url);
  check('cookies are HttpOnly and Lax', cookies.length > 1 && cookies.every((k) => k.httpOnly && k.sameSite === 'Lax'), JSON.stringify(cookies.map((k) => [k.name, k.httpOnly, k.sameSite])));
}

async function denies(context) {
  const c = await program('Visual editor'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  equal('error', (await answer(c, page, () => page.click(deny))).get('error'), 'access_denied');
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
  await connected(c, await answer(c, page, () => page.click('button.primary')));
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
  await connected(c, await answer(c, page, () => page.click(alice)));
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
  await connected(a, await answer(a, one, () => one.click(alice)));
  await connected(b, await answer(b, two, () => two.click(alice)));
}

// tabTo presses Tab until the focus is where it should be, and looks whether it can be seen.
async function tabTo(page, selector) {
  for (let i = 0; i < 300; i++) {
    await page.keyboard.press('Tab');
    if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) {
      const ring = await page.evaluate(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1; });
      check(`focus is seen on ${selector}`, ring);
      return;
    }
  }
  throw new Error(`Tab does not reach ${selector}`);
}

// keyboard does everything without a mouse.
async function keyboard(context) {
  const c = await program('Keyboard'), page = await context.newPage();
  await page.goto(c.authorizeURL());
  await tabTo(page, allow);
  await page.keyboard.press('Enter');
  await page.waitForSelector(alice);
  await tabTo(page, '#username');
  await page.keyboard.type('alice');
  await tabTo(page, '#password');
  await page.keyboard.type('alice-pw');
  await connected(c, await answer(c, page, () => page.keyboard.press('Enter')));
  await page.goto(c.authorizeURL());
  await tabTo(page, deny);
  equal('Deny by keyboard', (await answer(c, page, () => page.keyboard.press('Space'))).get('error'), 'access_denied');
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
  await connected(c, await answer(c, page, () => page.goto(callback)));
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
  await connected(c, await answer(c, page, () => page.click(allow)));
  const p = await program('Private', 'cursor://anysphere.cursor-mcp/oauth/callback', quick);
  await page.goto(p.authorizeURL());
  let to;
  page.on('response', async (r) => { const l = (await r.allHeaders().catch(() => ({}))).location; if (l?.startsWith('cursor:')) to = l; });
  await page.click(allow, { noWaitAfter: true });
  check('a private-use scheme is reached through the provider', await until(() => to) && new URL(to).searchParams.get('code'), to);
  await quick.stop();
}

// signIn opens the status page as one of the people.
async function signIn(page, name) {
  await page.goto(app.url + '/status');
  await page.click('form[action="/signin"] button');
  await page.click(user(name));
  await page.waitForURL(app.url + '/status');
}

// connect is a program's login without a browser window: the pages are not what is looked at.
async function connect(name, who) {
  const c = new Client(app, name);
  await c.register();
  const r = await c.redeem(await c.authorize({ user: who, password: `${who}-pw` }));
  if (r.status !== 200) throw new Error(`${name} of ${who}: ${r.status} ${r.body}`);
  return c;
}

const living = (page) => page.locator('form[action="/grants/end"] input[name=id]').count();
const alive = async (c) => (await c.tool('whoami', 'legacy')).status;

// connections: what a person sees of their own, and the two ways to end them.
async function connections(context) {
  const page = await context.newPage();
  const one = await program('First program'), two = await program('Second program'), three = await program('Third program');
  for (const c of [one, two, three]) {
    await page.goto(c.authorizeURL());
    await page.click(allow);
    await page.waitForSelector(alice);
    await connected(c, await answer(c, page, () => page.click(alice)));
  }
  equal('a call', (await one.tool('whoami')).status, 200);
  await signIn(page, 'alice');
  const article = (name) => page.locator('article', { has: page.locator('h2', { hasText: name }) });
  const before = await living(page);
  check('all programs are listed', before >= 3, before);
  check('state, times and access are told', /Working[^]*Connected[^]*Last used[^]*Good until[^]*Access/.test(await article('First program').innerText()), await article('First program').innerText());
  equal('no way to everybody', await page.locator('nav').count(), 0);
  await article('First program').locator('summary').click();
  const story = await article('First program').locator('.story').innerText();
  check('the story, the latest first', /first_call[^]*signed_in[^]*consent_approved/.test(story) && story.includes('You pressed Allow.'), story);
  await inspect(page, 'status');
  await article('First program').locator('button.end').click();
  await page.waitForURL(app.url + '/status');
  equal('connections after End', await living(page), before - 1);
  equal('the ended one\'s call', await alive(one), 401);
  equal('the other\'s call', await alive(two), 200);
  check('it says so', (await article('First program').innerText()).includes('You ended it here.'));
  const all = page.locator('details', { hasText: 'End all connections' });
  equal('the end of all is folded away', await all.locator('button.end').isVisible(), false);
  await all.locator('summary').click();
  await all.locator('button.end').click();
  await page.waitForURL(app.url + '/status');
  equal('connections after End all', await living(page), 0);
  equal('a call after End all', await alive(two), 401);
  equal('and another\'s', await alive(three), 401);
  await inspect(page, 'status-ended');
  await page.click('form[action="/signout"] button');
  await page.waitForSelector('form[action="/signin"]');
}

// forged: what did not come from our own page, by this person, ends nothing; the same form from the page does.
async function forged(context) {
  const mine = await connect('Wanted', 'alice'), spare = await connect('Spare', 'alice'), other = await fresh();
  const page = await context.newPage(), there = await other.newPage();
  await signIn(page, 'alice');
  await signIn(there, 'bob');
  const field = (p, name) => p.locator(`form[action="/grants/end"] input[name=${name}]`).first().inputValue();
  const token = await field(page, 'token'), id = await page.locator('article', { hasText: 'Wanted' }).locator('input[name=id]').inputValue(), out = await page.locator('form[action="/signout"] input[name=token]').inputValue();
  const subject = await field(page, 'subject');
  const post = async (what, want, ctx, form, headers = {}, at = '/grants/end') => {
    const r = await ctx.request.post(app.url + at, { form, headers: { origin: app.url, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate', accept: 'text/html', ...headers }, maxRedirects: 0 });
    equal(what, r.status(), want);
    if (want === 403) check(`${what}: says why`, (await r.text()).includes('csrf_failed'));
  };
  await post('without a token', 403, context, { id });
  await post('with a made-up token', 403, context, { token: 'A'.repeat(token.length), id });
  await post('with the token of another form', 403, context, { token: out, id });
  await post('from another origin', 403, context, { token, id }, { origin: landed.url });
  await post('from nowhere', 403, context, { token, id }, { origin: 'null' });
  await post('from a site next door', 403, context, { token, id }, { 'sec-fetch-site': 'same-site' });
  await post('by a script', 403, context, { token, id }, { 'sec-fetch-mode': 'cors' });
  await post('with her token under his sign-in', 403, other, { token, id });
  await post('with her token under no sign-in', 403, await fresh(), { token, id });
  const his = await connect('His own', 'bob');
  await there.reload();
  await post('somebody else\'s connection', 404, other, { token: await field(there, 'token'), id });
  await post('everything of somebody else', 404, other, { token: await field(there, 'token'), subject });
  equal('somebody else\'s page', (await there.goto(`${app.url}/status?${new URLSearchParams({ subject })}`)).status(), 404);
  equal('by an address alone', (await there.goto(app.url + '/grants/end')).status(), 405);
  for (const host of ['127.0.0.1', 'localhost']) { // another origin of the same site, and another site
    const evil = await context.newPage();
    await evil.route('**/evil', (r) => r.fulfill({ contentType: 'text/html', body: `<!doctype html><form method="post" action="${app.url}/grants/end"><input name="token" value="${token}"><input name="id" value="${id}"><button>win</button></form>` }));
    await evil.goto(`${landed.url.replace('127.0.0.1', host)}/evil`);
    const [answered] = await Promise.all([evil.waitForResponse(app.url + '/grants/end'), evil.click('button')]);
    equal(`a form on ${host}`, answered.status(), 403);
    await evil.close();
  }
  equal('her program after all that', await alive(mine), 200);
  equal('her other', await alive(spare), 200);
  equal('his program', await alive(his), 200);
  await post('and the same from her own page', 303, context, { token, id });
  equal('her program then', await alive(mine), 401);
  await other.close();
}

// operators see everybody's, find one user, and end one or all.
async function operators(context) {
  const page = await context.newPage(), table = page.locator('tbody');
  const one = await connect('Report writer', 'bob'), two = await connect('Notebook', 'bob'), hers = await connect('Assistant', 'alice'), own = await connect('Console', 'olga');
  await alive(one);
  await signIn(page, 'olga');
  check('everybody is there', await page.locator('h1').innerText() === 'All connections' && /bob@example\.com[^]*Report writer/.test(await table.innerText()) && (await table.innerText()).includes('alice@example.com'), await table.innerText());
  const main = await page.locator('main').innerText();
  check('health and numbers', /Sign-in service\s+Working[^]*Store\s+Working[^]*By state[^]*Working\s+\d/.test(main), main.slice(0, 400));
  await inspect(page, 'status-operator');
  const search = async (fields, wanted, unwanted) => {
    await page.goto(app.url + '/status');
    for (const [id, value] of Object.entries(fields)) await page.fill(`#${id}`, value);
    await page.click('form[role=search] button');
    await page.waitForLoadState();
    const text = await page.locator('main').innerText();
    check(`search ${JSON.stringify(fields)}`, wanted.every((w) => text.includes(w)) && !unwanted.some((w) => text.includes(w)), text.slice(0, 600));
  };
  await search({ client: 'report' }, ['Report writer', 'bob@example.com'], ['Notebook', 'Assistant']);
  await search({ subject: 'alice@example.com' }, ['Connections of Alice', 'alice@example.com', 'Assistant'], ['Report writer']);
  await search({ subject: 'BOB@example.com', client: 'note' }, ['Notebook'], ['Report writer', 'Assistant']);
  await search({ subject: '"><b>nobody' }, ['No connection matches.'], ['Notebook']);
  await inspect(page, 'status-operator-nothing');
  await page.goto(app.url + '/status');
  await page.locator('dt a', { hasText: 'Ended' }).click();
  await page.waitForLoadState();
  check('only ended ones', page.url().endsWith('?state=ended') && (await table.locator('.state').allInnerTexts()).every((s) => s === 'Ended') && await living(page) === 0, page.url());
  await page.click('text=Show all states');
  await page.waitForURL(app.url + '/status');

  await page.locator('tbody a', { hasText: 'bob@example.com' }).first().click();
  await page.waitForURL(/subject=/);
  const his = page.url();
  check('his page and nobody else\'s', await page.locator('h1').innerText() === 'Connections of Bob' && !(await table.innerText()).includes('alice'), await table.innerText());
  check('his story', (await page.locator('main').innerText()).includes('What happened so far'));
  for (const s of await page.locator('main summary').all()) await s.click();
  check('told of him, not to him', /The user pressed Allow/.test(await page.locator('.story').first().innerText()), await page.locator('.story').first().innerText());
  await inspect(page, 'status-operator-user');
  await page.goto(his);
  await page.locator('tbody tr', { hasText: 'Report writer' }).locator('button.end').click();
  await page.waitForURL(/subject=/);
  equal('the one that was ended', await alive(one), 401);
  equal('his other', await alive(two), 200);
  check('an administrator did it', (await page.locator('tbody tr', { hasText: 'Report writer' }).innerText()).includes('admin_revoked'));
  const all = page.locator('details', { hasText: 'End all connections of this user' });
  equal('off-boarding is folded away', await all.locator('button.end').isVisible(), false);
  await all.locator('summary').click();
  await all.locator('button.end').click();
  await page.waitForURL(/subject=/);
  equal('all of his', await living(page), 0);
  equal('his call', await alive(two), 401);
  equal('hers', await alive(hers), 200);
  await page.click('nav a:text-is("Mine")');
  await page.waitForURL(/subject=/);
  check('her own', await page.locator('h1').innerText() === 'My connections' && (await page.locator('main').innerText()).includes('Console'), await page.locator('main').innerText());
  await page.locator('summary').first().click();
  check('her own story', (await page.locator('.story').first().innerText()).includes('You pressed Allow.'), await page.locator('.story').first().innerText());
  await inspect(page, 'status-operator-own');
  equal('her own program', await alive(own), 200);
}

// manyPages: more connections than one page shows, each exactly once on the way through.
async function manyPages(context) {
  for (let i = 0; i < 56; i += 8) await Promise.all(Array.from({ length: 8 }, (_, n) => connect(`Fleet ${i + n}`, i % 16 ? 'alice' : 'bob')));
  const page = await context.newPage(), seen = [];
  await signIn(page, 'olga');
  await page.fill('#client', 'fleet');
  await page.click('form[role=search] button');
  let pages = 0;
  for (;;) {
    await page.waitForLoadState();
    pages++;
    seen.push(...await page.locator('tbody form input[name=id]').evaluateAll((all) => all.map((e) => e.value)));
    if (pages === 1) await inspect(page, 'status-operator-many');
    const next = page.locator('a', { hasText: 'Next page' });
    if (!await next.count()) break;
    const from = page.url();
    await next.click();
    await page.waitForURL((u) => u.href !== from);
  }
  check('every one once', seen.length === 56 && new Set(seen).size === 56 && pages > 1, `${seen.length} on ${pages} pages, ${new Set(seen).size} different`);
  await page.click('text=First page');
  await page.waitForURL((u) => !u.searchParams.has('after'));
  equal('the search is kept', await page.inputValue('#client'), 'fleet');
}

// byKeys: the status pages without a mouse.
async function byKeys(context) {
  const page = await context.newPage(), mine = await connect('Typist', 'alice');
  for (const [name, who] of [['Second', 'alice'], ['Third', 'alice'], ['His', 'bob'], ['His second', 'bob']]) await connect(name, who);
  await signIn(page, 'alice');
  const first = await page.locator('article h2').first().innerText();
  await tabTo(page, 'article summary');
  await page.keyboard.press('Enter');
  check('the story unfolds', await page.locator('.story').first().isVisible());
  await tabTo(page, 'article button.end');
  const gone = await page.locator('article').first().locator('input[name=id]').inputValue();
  await page.keyboard.press('Enter');
  await page.waitForSelector(`article:has-text("${first}")`);
  check('End by keyboard', await until(async () => !(await page.content()).includes(`value="${gone}"`)));
  await tabTo(page, 'details.connection > summary');
  await page.keyboard.press('Space');
  await tabTo(page, 'details.connection button.end');
  await page.keyboard.press('Space');
  check('End all by keyboard', await until(async () => await living(page).catch(() => 1) === 0));
  equal('a call', await alive(mine), 401);
  const other = await fresh(), there = await other.newPage();
  await signIn(there, 'olga');
  await tabTo(there, '#subject');
  await there.keyboard.type('bob@example.com');
  await there.keyboard.press('Enter');
  await there.waitForURL(/subject=bob/);
  await tabTo(there, 'tbody a');
  await tabTo(there, 'tbody button.end');
  await tabTo(there, 'table ~ details:has(button) > summary');
  await there.keyboard.press('Enter');
  await tabTo(there, 'table ~ details button.end');
  await there.keyboard.press('Enter');
  check('all of a user by keyboard', await until(async () => await living(there).catch(() => 1) === 0));
  await other.close();
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
  await page.click(user('bob'));
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
