// A REST API as companies run them: it believes what the realm has signed, for its own audience alone, and nothing else.
import http from 'node:http';
import { createPublicKey, verify } from 'node:crypto';
import { closeAtEnd } from './lib.mjs';

export class API {
  // audience is the only one that it takes.
  static async make(issuer, audience) {
    const a = closeAtEnd(Object.assign(new API(), { issuer, audience, calls: [] }));
    const { keys } = await (await fetch(`${issuer}/protocol/openid-connect/certs`)).json();
    a.keys = new Map(keys.filter((k) => k.use === 'sig').map((k) => [k.kid, createPublicKey({ key: k, format: 'jwk' })]));
    a.server = http.createServer((q, r) => a.answer(q, r)).listen(0, '127.0.0.1');
    await new Promise((ready) => a.server.once('listening', ready));
    a.url = `http://127.0.0.1:${a.server.address().port}`;
    return a;
  }
  async stop() { this.server.closeAllConnections(); await new Promise((r) => this.server.close(r)); }

  // claims of a token that is good, for whichever audience; undefined of any other.
  claims(authorization = '') {
    const [head, body, signature] = authorization.replace(/^Bearer /, '').split('.');
    try {
      const { kid, alg } = JSON.parse(Buffer.from(head, 'base64url')), c = JSON.parse(Buffer.from(body, 'base64url'));
      const good = alg === 'RS256' && this.keys.has(kid) && verify('sha256', Buffer.from(`${head}.${body}`), this.keys.get(kid), Buffer.from(signature, 'base64url'));
      return good && c.iss === this.issuer && c.exp * 1000 > Date.now() && c.sub ? c : undefined;
    } catch { return undefined; }
  }
  answer(q, r) {
    const claims = this.claims(q.headers.authorization), call = { path: q.url, headers: q.headers, claims };
    this.calls.push(call);
    const say = (status, body) => { call.status = status; r.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)); };
    if (claims?.aud !== this.audience) return say(401, { error: 'this token is not for me alone' });
    if (q.url === '/salaries' && claims.preferred_username !== 'alice') return say(403, { error: 'salaries are not for you' });
    return say(200, { sub: claims.sub, preferred_username: claims.preferred_username });
  }
  document() {
    const get = (operationId) => ({ get: { operationId, responses: { 200: { description: 'who asks', content: { 'application/json': { schema: { type: 'object' } } } } } } });
    return { openapi: '3.1.0', info: { title: 'Ledger', version: '1' }, servers: [{ url: this.url }], paths: { '/me': get('me'), '/salaries': get('salaries') } };
  }
}
