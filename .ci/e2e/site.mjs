// One installation on a realm of its own: hostedmcp behind a tap that can fail, an operator's browser, and the people who
// come. told holds every surface to one reason.
import fs from 'node:fs';
import http from 'node:http';
import { execFile } from 'node:child_process';
import { BIN, browse, Client, Hosted, Jar, leaks, sleep, Tap, until } from './lib.mjs';
import { forms } from '../kit/browser.mjs';

export const life = 3; // seconds of Keycloak's access tokens: so long after a renewal a call asks Keycloak again

export class Site {
  // o: realm and client (settings), access (lines of [access]), rotation, holdoff, provider (lines of [provider])
  static async make(admin, name, o = {}) {
    const s = new Site();
    s.people = [];
    s.said = []; // outputs of commands, and pages: no secret stands in one
    s.counted = {}; // events by reason, when they were last looked at
    s.realm = await admin.realm(name, { accessTokenLifespan: life, ...o.realm });
    if (o.client) await s.realm.setClient(o.client);
    s.tap = failing(await Tap.make(admin.base));
    s.hosted = await Hosted.make(`hosted-${name}`, {
      top: 'insecure_loopback = true',
      rest: (h) => `level = "debug"\n[access]\noperators = ["finance"]\n${o.access ?? ''}\n[tokens]\nretry_window = "1s"\n[provider]\n`
        + `issuer = "${s.tap.url}/realms/${name}"\nclient_id = "hostedmcp"\nclient_secret_file = "${h.secretFile('hostedmcp-test-secret')}"\n`
        + `rotation = "${o.rotation ?? 'none'}"\nmargin = "1s"\nholdoff = "${o.holdoff ?? '1s'}"\n${o.provider ?? ''}\n`,
    });
    s.operator = await s.signIn('bob');
    return s;
  }

  // ------------------------------------------------------------ people
  // join makes a user who connects a program.
  async join(name) {
    const p = { name, email: `${name}@example.test`, subject: await this.realm.user(name), client: new Client(this.hosted, `program of ${name}`) };
    const login = await p.client.login({ user: name, password: `${name}-pw` });
    if (login.status !== 200) throw new Error(`${name}: ${login.status} ${login.body}`);
    p.id = (await this.json('explain', p.email)).stories[0].grant.id;
    this.people.push(p);
    return p;
  }
  // call is one tool call, after which p.request is what a user would read off the error.
  async call(p) {
    const r = await p.client.tool('userinfo', 'modern');
    p.request = r.headers.get('x-request-id');
    return r;
  }
  // due waits until calls ask Keycloak.
  due() { return sleep(1000 * life); }
  well(p, seconds = 120) {
    return until(async () => (await this.call(p)).value?.preferred_username === p.name, seconds, 500);
  }

  // ------------------------------------------------------------ commands
  run(...args) {
    return new Promise((done) => execFile(BIN, [...args, '-config', this.hosted.config], { maxBuffer: 1 << 24 }, (err, out, errors) => {
      this.said.push([args.join(' '), out + errors]);
      done({ code: err ? err.code : 0, out, errors });
    }));
  }
  async json(...args) {
    const r = await this.run(...args, '-json');
    if (r.code) throw new Error(`${args.join(' ')}: ${r.errors}`);
    return JSON.parse(r.out);
  }

  // ------------------------------------------------------------ pages
  async signIn(user) {
    const jar = new Jar(), there = new Error('signed in');
    let back = false;
    const before = (u) => { // the page itself is none of the walk: it would press its buttons
      if (back && u.pathname === '/status') throw there;
      back ||= u.pathname === '/callback';
    };
    try { await browse(this.hosted.url + '/status', { jar, user, password: `${user}-pw`, redirectUri: 'http://none.invalid/', before }); }
    catch (e) { if (e !== there) throw e; }
    return jar;
  }
  // page asks as a browser does that goes there, with a form that posts it. (Node's fetch calls itself a script.)
  page(jar, where = '/status', form) {
    const url = new URL(where, this.hosted.url), method = form ? 'POST' : 'GET';
    const headers = { cookie: jar.header(url, { crossSite: false, method }), 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate',
      ...(form && { origin: this.hosted.url, 'content-type': 'application/x-www-form-urlencoded' }) };
    return new Promise((done, failed) => http.request(url, { method, headers, agent: false }, async (r) => {
      for (const line of r.headers['set-cookie'] ?? []) jar.set(url, line, () => {});
      let text = '';
      for await (const part of r) text += part;
      this.said.push([where, text]);
      done({ status: r.statusCode, text });
    }).on('error', failed).end(form && String(new URLSearchParams(form))));
  }
  // end presses the button of one connection.
  async end(jar, p, where = '/status') {
    const page = await this.page(jar, where);
    const form = forms(page.text).find((f) => f.fields.some((x) => x.name === 'id' && x.value === p.id));
    if (!form) throw new Error(`no button for ${p.name} at ${where}: ${page.status}`);
    return this.page(jar, form.action, Object.fromEntries(form.fields.map((x) => [x.name, x.value])));
  }

  // ------------------------------------------------------------ what is said
  // metric is the value of one series, 0 if there is none.
  async metric(name, labels = '') {
    const [, at] = fs.readFileSync(this.hosted.config, 'utf8').match(/\[metrics\]\nlisten = "([^"]+)"/);
    const text = await (await fetch(`http://${at}/metrics`)).text();
    this.said.push(['/metrics', text]);
    const line = text.split('\n').find((l) => l.startsWith(`${name}${labels ? `{${labels}}` : ''} `));
    return line ? Number(line.split(' ').pop()) : 0;
  }
  logged(p, reason) {
    return fs.readFileSync(this.hosted.log, 'utf8').split('\n').some((l) => {
      try { const e = JSON.parse(l); return e.reason === reason && (e.grant === p.id || (reason === 'restored' && e.msg === 'event')); } catch { return false; }
    });
  }

  // leaks looks for every token that was seen, and for the client secret, in all that was said and written.
  leaks() {
    const secrets = new Map([...this.tap.secrets, ...this.people.flatMap((p) => [...p.client.own])]);
    const answers = this.people.flatMap((p) => p.client.answers);
    return [...leaks([...this.said, ...this.hosted.files()], secrets), ...leaks(answers, this.tap.secrets),
      ...leaks([...this.said, ...answers, ...this.hosted.files()], new Map([['hostedmcp-test-secret', 'the client secret']]))];
  }

  // told holds the surfaces of the running server to one reason for one connection; what disagrees is in the answer.
  async told(p, reason, advice) {
    const wrong = [], need = (what, ok, got) => ok || wrong.push(`${what}: ${String(got).slice(0, 300)}`);
    const words = { connection: p.id, 'e-mail': p.email, ...(p.request && { request: p.request }) };
    for (const [what, word] of Object.entries(words)) {
      const e = await this.run('explain', word);
      need(`explain by ${what}`, first(e, reason), e.out.split('\n')[0] || e.errors);
      const change = e.out.slice(e.out.indexOf('What to change'));
      need(`advice by ${what}`, advice.test(change), change);
    }
    const [s] = (await this.json('explain', p.id)).stories;
    need('story', s.reason === reason && s.lines.some((l) => l.reason === reason), JSON.stringify(s.lines.map((l) => l.reason)));
    const g = await this.json('grants', 'show', p.id), ended = s.state === 'ended';
    need('grants show', (ended ? g.reason : g.upstream.trouble || (g.upstream.in_doubt && reason)) === reason, JSON.stringify(g));
    need('log', this.logged(p, reason), 'no line with both');
    const n = await this.metric('hostedmcp_events_total', `reason="${reason}"`), before = this.counted[reason] ?? 0;
    need('metric', n > before, `${n} after ${before}`);
    this.counted[reason] = n;
    if (ended) need('metric of ends', await this.metric('hostedmcp_grants_ended_total', `reason="${reason}"`) === n, `not ${n}`);
    const page = await this.page(this.operator, `/status?subject=${p.subject}`);
    const row = page.text.split('<tr ').find((r) => r.includes(`program of ${p.name}<`)) ?? '';
    need('status page', row.includes(`<code>${reason}</code>`), `${page.status} ${row.replace(/\s+/g, ' ')}`);
    return wrong;
  }

  // toldClosed asks the same of the file, with no server on it; a request that changed nothing (p.memory) only a server knows.
  async toldClosed(p, reason) {
    const wrong = [];
    for (const word of [p.id, p.email, ...(p.memory ? [] : [p.request])]) {
      const e = await this.run('explain', word);
      if (!first(e, reason)) wrong.push(`${word}: ${e.out.split('\n')[0] || e.errors}`);
    }
    return wrong;
  }
}

const first = (e, reason) => e.code === 0 && e.out.startsWith(`${reason}: `);

// failing lets a tap fail: down() and up(), and trouble, a function (request, answer, hand on) in place of handing on.
function failing(tap) {
  const pass = tap.pass.bind(tap), { port } = tap.server.address();
  tap.pass = (q, a) => (tap.trouble && /\/token$/.test(q.url) ? tap.trouble(q, a, () => pass(q, a)) : pass(q, a));
  tap.down = async () => { tap.server.closeAllConnections(); await new Promise((r) => tap.server.close(r)); };
  tap.up = () => new Promise((r) => tap.server.listen(port, '127.0.0.1', r));
  // unheard lets Keycloak answer and nobody hear it; the result resolves with the first answer lost.
  tap.unheard = () => new Promise((lost) => {
    tap.trouble = (q, a, on) => { a.writeHead = () => a; a.end = () => { tap.trouble = null; lost(a); }; on(); };
  });
  return tap;
}
