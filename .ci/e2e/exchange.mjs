// exchange.mjs KEYCLOAK_URL   token exchange (RFC 8693) with a real Keycloak; see ../exchange
import fs from 'node:fs';
import path from 'node:path';
import { check, Client, equal, Hosted, leaks, main, say, sleep, Tap } from './lib.mjs';
import { Admin } from './realm.mjs';
import { API } from './api.mjs';

const admin = new Admin(process.argv[2]);
const life = 15; // seconds of Keycloak's access tokens, the exchanged ones too
const exchanging = 'urn:ietf:params:oauth:grant-type:token-exchange';

main(async () => {
  const realm = await admin.realm('exchange', { accessTokenLifespan: life });
  await audiences(realm);
  const tap = await Tap.make(admin.base), api = await API.make(`${tap.url}/realms/exchange`, 'ledger-api');
  const h = await Hosted.make('hosted-exchange', { top: 'insecure_loopback = true', rest: (x) => config(x, tap, api) });
  const alice = await login(h, 'alice'), bob = await login(h, 'bob');

  await own(tap, api, { alice, bob });
  await others(tap, api, alice);
  await cached(realm, tap, api, alice);
  await denied(api, h, { alice, bob });
  await after(tap, api, alice, bob);

  equal('SIGTERM ends it', await h.stop(), 'code 0');
  const secrets = new Map([...tap.secrets, ...alice.own, ...bob.own]);
  equal(`of ${secrets.size} tokens, in store, key file and log`, leaks(h.files(), secrets).join(), '');
  equal('tokens of the provider in our answers', leaks([...alice.answers, ...bob.answers], tap.secrets).join(), '');
  equal('tokens of our own at the API', leaks(api.calls.filter((c) => c.headers['hostedmcp-subject']).map((c) => [c.path, JSON.stringify(c.headers)]), new Map([...alice.own, ...bob.own])).join(), '');
  await api.stop();
  await tap.stop();
});

// audiences makes two more APIs known to the realm: ledger-api for everybody, payroll-api for who has its role, which
// alice has. With the crm-api of the realm a user's own token is for three audiences.
async function audiences(realm) {
  for (const clientId of ['ledger-api', 'payroll-api']) {
    await realm.call('POST', '/clients', { clientId, publicClient: false, standardFlowEnabled: false, directAccessGrantsEnabled: false });
  }
  const ours = await realm.client(), payroll = await realm.client('payroll-api');
  const mapper = (name, protocolMapper, config) => realm.call('POST', `/clients/${ours.id}/protocol-mappers/models`, { name, protocol: 'openid-connect', protocolMapper, config });
  await mapper('ledger', 'oidc-audience-mapper', { 'included.client.audience': 'ledger-api', 'access.token.claim': 'true' });
  await mapper('by role', 'oidc-audience-resolve-mapper', { 'access.token.claim': 'true' });
  await realm.call('POST', `/clients/${payroll.id}/roles`, { name: 'reader' });
  const role = [await realm.call('GET', `/clients/${payroll.id}/roles/reader`)];
  await realm.call('POST', `/clients/${ours.id}/scope-mappings/clients/${payroll.id}`, role);
  const [alice] = await realm.call('GET', '/users?username=alice&exact=true');
  await realm.call('POST', `/users/${alice.id}/role-mappings/clients/${payroll.id}`, role);
}

// config mounts the one API four times: right, with the user's own token, and for audiences of other APIs.
function config(h, tap, api) {
  const document = path.join(h.dir, 'ledger.json');
  fs.writeFileSync(document, JSON.stringify(api.document()));
  const mount = (name, credential) => `[[connector]]\nname = "${name}"\nkind = "openapi"\ndocument = "${document}"\n${credential}\n`;
  return `level = "debug"\n[provider]\nissuer = "${tap.url}/realms/exchange"\nclient_id = "hostedmcp"\nmargin = "2s"\nrotation = "none"\n`
    + `client_secret_file = "${h.secretFile('hostedmcp-test-secret')}"\n`
    + mount('ledger', 'credential = "exchange"\naudience = "ledger-api"') + mount('plain', 'credential = "user"')
    + mount('crm', 'credential = "exchange"\naudience = "crm-api"') + mount('payroll', 'credential = "exchange"\naudience = "payroll-api"');
}

async function login(h, name) {
  const c = new Client(h, `program of ${name}`);
  const r = await c.login({ user: name, password: `${name}-pw` });
  if (r.status !== 200) throw new Error(`${name}: ${r.status} ${r.body}`);
  return c;
}

// ---------------------------------------------------------------- what is shown
async function own(tap, api, people) {
  for (const [name, c] of Object.entries(people)) {
    for (const era of ['legacy', 'modern']) {
      const r = await c.tool('ledger__me', era);
      equal(`${name}'s call (${era})`, r.value?.preferred_username, name) || say(`${r.status} ${r.body.slice(0, 400)}`);
      const { claims, headers } = api.calls.at(-1);
      equal('the token is for the API alone', JSON.stringify(claims?.aud), '"ledger-api"');
      equal('and for who asks', claims?.sub, headers['hostedmcp-subject']);
    }
  }
  const given = tap.grants(exchanging);
  equal('exchanges: one a user', given.length, 2);
  check('each for the audience, of the user\'s own token', given.every((g) => g.form.get('audience') === 'ledger-api'
    && g.form.get('subject_token_type') === 'urn:ietf:params:oauth:token-type:access_token'), JSON.stringify(given.map((g) => [...g.form.keys()])));
}

// others are tokens that the API must refuse, by itself and through a mount.
async function others(tap, api, alice) {
  const upstream = tap.grants('authorization_code')[0].json.access_token;
  for (const [what, token] of Object.entries({ 'the program\'s own token': alice.tokens.access_token, 'the user\'s token of the provider': upstream, 'no token': '' })) {
    equal(`${what}, at the API`, (await fetch(`${api.url}/me`, { headers: token ? { authorization: `Bearer ${token}` } : {} })).status, 401);
  }
  for (const [what, tool] of Object.entries({ 'credential "user"': 'plain__me', 'an exchange for another audience': 'crm__me' })) {
    const r = await alice.tool(tool, 'modern');
    check(`${what}: a tool error that says 401`, r.status === 200 && /"isError":\s*true/.test(r.body) && /401/.test(r.body), `${r.status} ${r.body}`);
  }
  const last = tap.grants(exchanging).at(-1);
  equal('the other audience was Keycloak\'s to give', `${last.form.get('audience')} ${last.status}`, 'crm-api 200');
}

async function cached(realm, tap, api, alice) {
  const tokens = () => new Set(api.calls.filter((c) => c.status === 200).map((c) => c.headers.authorization)).size;
  const n = tap.grants(exchanging).length;
  await sleep(1000 * life);
  const seen = tokens();
  const many = await Promise.all(Array.from({ length: 10 }, () => alice.tool('ledger__me', 'modern')));
  check('ten calls at once after it ran out', many.every((r) => r.value?.preferred_username === 'alice'), JSON.stringify(many.find((r) => !r.value)?.body));
  equal('cost exchanges', tap.grants(exchanging).length - n, 1);
  equal('and one new token reached the API', tokens() - seen, 1);
  await alice.tool('ledger__me', 'legacy');
  equal('another call costs none', tap.grants(exchanging).length - n, 1);
  equal('Keycloak\'s own events count the same', await realm.events('TOKEN_EXCHANGE'), tap.grants(exchanging).filter((g) => g.status === 200).length);
}

// denied are users without rights: Keycloak gives bob no token for payroll-api, and the API gives him no salaries.
async function denied(api, h, { alice, bob }) {
  await alice.tool('payroll__me', 'modern');
  equal('who has the role gets a token for that audience', api.calls.at(-1).claims?.aud, 'payroll-api');
  const n = api.calls.length, r = await bob.tool('payroll__me', 'modern');
  check('a user without: a tool error that says so', r.status === 200 && /"isError":\s*true/.test(r.body) && /tool_denied/.test(r.body), `${r.status} ${r.body}`);
  equal('and the API was not called', api.calls.length, n);
  equal('nobody was alarmed', fs.readFileSync(h.log, 'utf8').split('\n').filter((l) => l.includes('"level":"ERROR"')).join('\n'), '');
  equal('other tools of the user go on', (await bob.tool('ledger__me', 'modern')).value?.preferred_username, 'bob');
  const s = await bob.tool('ledger__salaries', 'modern');
  check('403 of the API: a tool error with the status', s.status === 200 && /"isError":\s*true/.test(s.body) && /403/.test(s.body), `${s.status} ${s.body}`);
}

async function after(tap, api, alice, bob) {
  equal('the program ends its connection', (await alice.revoke()).status, 200);
  const calls = api.calls.length, exchanges = tap.grants(exchanging).length;
  equal('its next call', (await alice.tool('ledger__me', 'modern')).status, 401);
  equal('reached the API', api.calls.length - calls, 0);
  equal('and Keycloak', tap.grants(exchanging).length - exchanges, 0);
  equal('another user goes on', (await bob.tool('ledger__me', 'modern')).value?.preferred_username, 'bob');
}
