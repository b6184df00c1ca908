// keycloak.mjs KEYCLOAK_URL   the chain of issue "the main job" against a real Keycloak; see ../keycloak
import { Client, Hosted, Tap, check, equal, leaks, main, onceALife, say, sleep, until } from './lib.mjs';

const [keycloak] = process.argv.slice(2), margin = 2; // seconds before its end when a token is due

main(async () => {
  await story('demo-short', 'none');
  await story('demo-strict', 'strict');
});

async function story(realm, rotation) {
  say(`--- realm ${realm}, rotation ${rotation}`);
  const tap = await Tap.make(keycloak);
  const h = await Hosted.make(`hosted-${realm}`, {
    top: 'insecure_loopback = true',
    rest: (h) => `[provider]\nissuer = "${tap.url}/realms/${realm}"\nclient_id = "hostedmcp"\nclient_secret_file = "${h.secretFile('hostedmcp-test-secret')}"\n`
      + `rotation = "${rotation}"\nmargin = "${margin}s"\n`,
  });
  const c = new Client(h);
  c.before = () => h.crash(); // kill -9 and a new start between any two requests

  const login = await c.login();
  equal('login through consent and the login form', login.status, 200);
  check('it survived a crash before every request', h.starts >= 6, `${h.starts} starts`);
  await alice(c, 'the first call');
  await alice(c, 'and in the other protocol era');

  // the provider's access token of 10 s runs out; the client's own does not
  const renewed = () => tap.grants('refresh_token').length;
  const expiry = tap.grants('authorization_code')[0].json.expires_in;
  check('the provider\'s access token lives 10 s', expiry > 7 && expiry <= 10, expiry);
  let n = renewed();
  await sleep(1000 * expiry);
  let due = Date.now();
  await alice(c, 'a call after the provider\'s token expired');
  onceALife('which was renewed once', renewed() - n, due, expiry - margin);

  // the same without crashes, by many calls at once
  c.before = async () => {};
  n = renewed();
  await sleep(1000 * expiry);
  due = Date.now();
  const calls = await Promise.all(Array.from({ length: 10 }, (_, i) => c.tool('userinfo', i % 2 ? 'modern' : 'legacy')));
  check('ten calls at once after an expiry', calls.every((r) => r.value?.preferred_username === 'alice'), JSON.stringify(calls.find((r) => r.status !== 200) || ''));
  onceALife('cost the provider refreshes', renewed() - n, due, expiry - margin);

  // our own refresh, an answer lost to the client, and the same successor
  c.before = () => h.crash();
  const old = c.tokens;
  equal('refresh', (await c.refresh()).status, 200);
  const next = c.tokens;
  equal('the old refresh token again', (await c.refresh(old.refresh_token)).status, 200);
  equal('gives the same successor', c.tokens.refresh_token, next.refresh_token);
  await alice(c, 'a call with the renewed token');

  // a second connection of the same user ends alone
  const d = new Client(h, 'ci client two');
  equal('a second client logs in', (await d.login()).status, 200);
  equal('it revokes', (await d.revoke()).status, 200);
  equal('its next call', (await d.tool('userinfo', 'legacy')).status, 401);
  await alice(c, 'the first one\'s call');

  // revoke, and what had to be revoked at the provider
  equal('revoke', (await c.revoke()).status, 200);
  const after = await c.tool('userinfo', 'legacy');
  equal('the next call', after.status, 401);
  check('says why', /grant_ended client_revoked/.test(after.headers.get('www-authenticate')), after.headers.get('www-authenticate'));
  equal('and the next refresh', (await c.refresh()).status, 400);
  c.before = async () => {};
  // a crash may have come before the provider was told: the queue of the store tells it later
  const refreshTokens = [...tap.secrets].filter(([, what]) => /refresh/.test(what)).map(([token]) => token);
  tap.deaf = true;
  const taken = async () => (await Promise.all(refreshTokens.map((token) => fetch(`${tap.url}/realms/${realm}/protocol/openid-connect/token`,
    { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, client_id: 'hostedmcp', client_secret: 'hostedmcp-test-secret' }) }))))
    .filter((r) => r.status !== 400).length;
  check(`Keycloak takes none of its ${refreshTokens.length} refresh tokens any more`, await until(async () => !await taken(), 120, 1000), `${await taken()} are still good`);
  tap.deaf = false;

  const how = await h.stop();
  equal('SIGTERM ends it', how, 'code 0');
  check(`${tap.secrets.size} tokens of the provider were seen`, tap.secrets.size >= 6);
  equal('tokens of the provider in our answers', leaks([...c.answers, ...d.answers], tap.secrets).join(), '');
  equal('tokens of the provider in store, key file and log', leaks(h.files(), tap.secrets).join(), '');
  equal('tokens of our own in store, key file and log', leaks(h.files(), new Map([...c.own, ...d.own])).join(), '');
  await tap.stop();
}

async function alice(c, what) {
  const r = await c.tool('userinfo');
  equal(`${what} (${r.era}): userinfo`, r.value?.preferred_username, 'alice') || say(r.status + ' ' + r.body.slice(0, 400));
}
