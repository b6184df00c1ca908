// An OpenID provider that asks nobody anything: /authorize answers by redirect at once, as one does whose user is
// signed in already. Every request is the same user's.
import http from 'node:http';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { closeAtEnd } from './lib.mjs';

const b64 = (x) => Buffer.from(typeof x === 'string' ? x : JSON.stringify(x)).toString('base64url');

export async function instant(clientID) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const codes = new Map();
  const server = http.createServer(async (q, a) => {
    let sent = '';
    for await (const d of q) sent += d;
    const u = new URL(q.url, url), form = new URLSearchParams(sent);
    const json = (v, status = 200) => { a.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }); a.end(JSON.stringify(v)); };
    const tokens = (nonce) => {
      const now = Math.floor(Date.now() / 1000), head = b64({ alg: 'ES256', kid: 'k', typ: 'JWT' });
      const body = b64({ iss: url, sub: 'someone', aud: clientID, iat: now, exp: now + 300, ...(nonce ? { nonce } : {}), name: 'Somebody Quick', preferred_username: 'quick', email: 'quick@example.test', email_verified: true, groups: ['sales'] });
      const sig = sign('sha256', Buffer.from(`${head}.${body}`), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
      json({ access_token: randomBytes(24).toString('base64url'), refresh_token: randomBytes(24).toString('base64url'), id_token: `${head}.${body}.${sig}`, token_type: 'Bearer', expires_in: 300, scope: 'openid offline_access' });
    };
    switch (u.pathname) {
      case '/.well-known/openid-configuration':
        return json({ issuer: url, authorization_endpoint: url + '/authorize', token_endpoint: url + '/token', jwks_uri: url + '/jwks', userinfo_endpoint: url + '/userinfo', revocation_endpoint: url + '/revoke',
          response_types_supported: ['code'], subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['ES256'], code_challenge_methods_supported: ['S256'], scopes_supported: ['openid', 'offline_access'] });
      case '/jwks':
        return json({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256', use: 'sig' }] });
      case '/authorize': {
        const code = randomBytes(16).toString('base64url');
        codes.set(code, { nonce: u.searchParams.get('nonce'), challenge: u.searchParams.get('code_challenge') });
        a.writeHead(302, { location: `${u.searchParams.get('redirect_uri')}?${new URLSearchParams({ code, state: u.searchParams.get('state') })}` });
        return a.end();
      }
      case '/token': {
        if (form.get('grant_type') === 'refresh_token') return tokens();
        const c = codes.get(form.get('code'));
        codes.delete(form.get('code'));
        if (!c || c.challenge !== createHash('sha256').update(form.get('code_verifier') || '').digest('base64url')) return json({ error: 'invalid_grant' }, 400);
        return tokens(c.nonce);
      }
      case '/userinfo': return json({ sub: 'someone', preferred_username: 'quick' });
      case '/revoke': return json({});
    }
    json({ error: 'not_found' }, 404);
  }).listen(0, '127.0.0.1');
  await new Promise((r) => server.once('listening', r));
  const url = `http://127.0.0.1:${server.address().port}`;
  closeAtEnd({ stop: async () => { server.closeAllConnections(); server.close(); } });
  return url;
}
