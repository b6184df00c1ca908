// What the stages with a real Keycloak do as its administrator: realms, users, sessions, settings.
import fs from 'node:fs';
import path from 'node:path';

const { CI_DIR } = process.env;

// Admin is the administrator of a Keycloak at base (http://127.0.0.1:PORT).
export class Admin {
  constructor(base) { this.base = base; }
  // token is asked for anew when the old one has nearly run out: administrators' live a minute.
  async token() {
    if (!this.saved || Date.now() > this.until) {
      const body = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: 'admin', password: 'admin' });
      const r = await (await fetch(`${this.base}/realms/master/protocol/openid-connect/token`, { method: 'POST', body })).json();
      this.saved = r.access_token;
      this.until = Date.now() + 500 * r.expires_in;
    }
    return this.saved;
  }
  // call returns the JSON of an answer, or the id of what was made.
  async call(method, where, body) {
    const r = await fetch(`${this.base}/admin/realms${where}`, { method,
      headers: { authorization: `Bearer ${await this.token()}`, 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
    const text = await r.text();
    if (!r.ok) throw new Error(`${method} ${where}: ${r.status} ${text}`);
    return text ? JSON.parse(text) : r.headers.get('location')?.split('/').pop();
  }
  // realm makes one from kc/realm.json, with settings of its own.
  async realm(name, settings = {}) {
    const r = JSON.parse(fs.readFileSync(path.join(CI_DIR, 'kc/realm.json'), 'utf8'));
    for (const u of r.users) u.realmRoles = u.realmRoles?.map((role) => role.replace(/-demo$/, `-${name}`));
    await this.call('POST', '', { ...r, realm: name, ...settings });
    return new Realm(this, name);
  }
}

// Realm is one of them, under the name that it has now.
export class Realm {
  constructor(admin, name) { this.admin = admin; this.name = name; }
  call(method, where, body) { return this.admin.call(method, `/${this.name}${where}`, body); }
  // set changes some settings of the realm; a new name is the realm's from then on.
  async set(settings) {
    await this.call('PUT', '', { ...(await this.call('GET', '')), ...settings });
    this.name = settings.realm ?? this.name;
  }
  async client(id = 'hostedmcp') { return (await this.call('GET', `/clients?clientId=${id}`))[0]; }
  async setClient(changes, id) {
    const c = await this.client(id);
    await this.call('PUT', `/clients/${c.id}`, { ...c, ...changes });
  }
  // user makes somebody of the sales group and returns their id, which is their subject.
  user(name) {
    return this.call('POST', '/users', { username: name, enabled: true, email: `${name}@example.test`, emailVerified: true, firstName: name,
      lastName: 'Example', groups: ['/sales'], credentials: [{ type: 'password', value: `${name}-pw`, temporary: false }] });
  }
  setUser(id, changes) { return this.call('PUT', `/users/${id}`, changes); }
  async leaveGroup(id, name) {
    const [g] = await this.call('GET', `/groups?search=${name}`);
    await this.call('DELETE', `/users/${id}/groups/${g.id}`);
  }
  // dropRoles takes all realm roles from a user; the right to offline access is among them.
  async dropRoles(id) {
    const where = `/users/${id}/role-mappings/realm`;
    await this.call('DELETE', where, await this.call('GET', where));
  }
  // endSessions is what an administrator does under Users > (name) > Sessions, of offline ones too.
  async endSessions(id) {
    const sessions = await this.call('GET', `/users/${id}/offline-sessions/${(await this.client()).id}`);
    for (const s of sessions) await this.call('DELETE', `/sessions/${s.id}?isOffline=true`);
    return sessions.length;
  }
  // events counts what Keycloak noted of one type.
  async events(type) { return (await this.call('GET', `/events?type=${type}&max=1000`)).length; }
}
