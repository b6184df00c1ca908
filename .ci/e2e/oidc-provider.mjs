// oidc-provider.mjs   hostedmcp against node's certified oidc-provider, which rotates every refresh token and ends the
// whole grant when an old one comes back; see ../oidc-provider
import path from 'node:path';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { Client, Hosted, KIT, Tap, check, closeAtEnd, equal, freePort, leaks, main, onceALife, sleep, until } from './lib.mjs';

const { Provider } = await import(pathToFileURL(path.join(KIT, 'pages/node_modules/oidc-provider/lib/index.js')));
const life = 5, margin = 1; // seconds of an access token, and before its end when it is due

main(async () => {
  const port = await freePort();
  const tap = await Tap.make(`http://127.0.0.1:${port}`);
  let redirect;
  const h = await Hosted.make('hosted', {
    top: 'insecure_loopback = true',
    rest: (h) => {
      redirect = `${h.url}/callback`;
      return `[provider]\nissuer = "${tap.url}"\nclient_id = "hostedmcp"\nclient_secret_file = "${h.secretFile('node-test-secret')}"\nrotation = "strict"\nmargin = "${margin}s"\n`;
    },
  });
  check('it serves while the provider is down', (await fetch(h.url + '/')).ok);
  const revoked = [];
  closeAtEnd(upstream(tap.url, port, redirect, revoked));

  const c = new Client(h);
  c.before = () => h.crash();
  equal('login', (await c.login()).status, 200);
  check('it survived a crash before every request', h.starts >= 6, `${h.starts} starts`);
  await alice(c, 'the first call');
  const n = () => tap.grants('refresh_token').length;

  for (let i = 1; i <= 3; i++) {
    const before = n();
    await sleep(1000 * life);
    const due = Date.now();
    await alice(c, `a call after expiry ${i}`);
    onceALife('refreshes at the provider', n() - before, due, life - margin);
    equal('refresh', (await c.refresh()).status, 200);
  }

  c.before = async () => {};
  await sleep(1000 * life);
  const before = n(), due = Date.now();
  const calls = await Promise.all(Array.from({ length: 10 }, () => c.tool('userinfo')));
  check('ten calls at once after an expiry', calls.every((r) => r.value?.preferred_username === 'alice'), JSON.stringify(calls.find((r) => r.status !== 200) || ''));
  onceALife('refreshes at the provider', n() - before, due, life - margin);
  const sent = tap.grants('refresh_token').map((r) => r.form.get('refresh_token'));
  equal('no refresh token was sent twice', new Set(sent).size, sent.length);
  equal('the provider revoked nothing', revoked.join(), '');

  const pair = [new Client(h, 'one'), new Client(h, 'two')];
  for (const x of pair) equal('another client logs in', (await x.login()).status, 200);
  await sleep(1000 * life);
  for (const x of [c, ...pair]) await alice(x, 'each connection on its own');

  equal('revoke', (await c.revoke()).status, 200);
  equal('the next call', (await c.tool('userinfo', 'legacy')).status, 401);
  check('the provider revoked its grant, and no other', await until(() => revoked.length) && revoked.length === 1, revoked.length);
  await alice(pair[0], 'the others go on');
  equal('SIGTERM ends it', await h.stop(), 'code 0');
  equal('tokens of the provider in our answers', leaks([c, ...pair].flatMap((x) => x.answers), tap.secrets).join(), '');
  equal('tokens of the provider in store, key file and log', leaks(h.files(), tap.secrets).join(), '');
});

async function alice(c, what) {
  const r = await c.tool('userinfo');
  equal(`${what} (${r.era}): userinfo`, r.value?.preferred_username, 'alice') || console.log(r.status, r.body.slice(0, 400));
}

// upstream is the certified provider with its own development pages: any name signs in.
function upstream(issuer, port, redirect, revoked) {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const claims = ['sub', 'name', 'preferred_username', 'email', 'email_verified', 'groups'];
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'hostedmcp', client_secret: 'node-test-secret', redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'], id_token_signed_response_alg: 'ES256' }],
    jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256' }] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    claims: { openid: claims },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: 'Alice Example', preferred_username: id, email: `${id}@example.test`, email_verified: true, groups: ['sales'] }) }),
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'), // we never send prompt=consent, on which it else insists
    rotateRefreshToken: true,
    pkce: { required: () => true },
    features: { revocation: { enabled: true } },
    ttl: { AccessToken: life, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, IdToken: 3600, AuthorizationCode: 60 },
  });
  provider.on('grant.revoked', (_, id) => revoked.push(id));
  provider.on('server_error', (_, e) => console.error('oidc-provider:', e));
  const server = provider.listen(port, '127.0.0.1');
  return { stop: async () => { server.closeAllConnections(); server.close(); } };
}
