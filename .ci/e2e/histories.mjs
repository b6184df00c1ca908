// histories.mjs KEYCLOAK_URL   ways in which connections end or come into trouble, on a real Keycloak; see ../histories
import path from 'node:path';
import { check, equal, main, say, sleep, until } from './lib.mjs';
import { Admin } from './realm.mjs';
import { life, Site } from './site.mjs';

const admin = new Admin(process.argv[2]);

main(async () => {
  await ends();
  await strict();
  await idle();
  await troubles();
});

// agree prints one line for one history: the reason, and every surface that says another.
async function agree(site, what, p, reason, advice) {
  const wrong = await site.told(p, reason, advice);
  Object.assign(p, { what, reason });
  check(`${what}: ${reason}`, !wrong.length, wrong.join('\n     '));
}

// closed asks again after the server has stopped.
async function closed(site) {
  await site.hosted.stop();
  for (const p of site.people.filter((x) => x.reason)) {
    const wrong = await site.toldClosed(p, p.reason);
    check(`${p.what}: ${p.reason}, on the closed file`, !wrong.length, wrong.join('\n     '));
  }
  await stop(site);
}

// stop looks for secrets in all that the site has said and written, at level debug.
async function stop(site) {
  await site.hosted.stop();
  equal('secrets in commands, pages, metrics, log and files', site.leaks().join(), '');
  await site.tap.stop();
}

// lost is a call that must find its connection ended.
async function lost(site, p, reason) {
  let r;
  await until(async () => (r = await site.call(p)).status !== 200 && r.status !== 503, 120, 500);
  const said = r.headers.get('www-authenticate') ?? '';
  return equal(`${p.name}'s call`, r.status, 401) && check('its challenge says why', said.includes(reason), said);
}

// ---------------------------------------------------------------- ends, without rotation
const sessions = /Realm settings > Sessions > Offline Session Idle/, endedThere = /Events > User events/;

async function ends() {
  say('--- ends');
  const site = await Site.make(admin, 'hist', { access: 'groups = ["sales", "finance"]', client: { consentRequired: true } });
  const { realm } = site;
  // what each does, the reason, and the advice that must come
  const rows = {
    kicked: ['provider session ended by an administrator', (p) => realm.endSessions(p.subject), 'upstream_session_ended', endedThere],
    everywhere: ['user signed out everywhere', (p) => realm.call('POST', `/users/${p.subject}/logout`), 'upstream_session_ended', /Sign out all active sessions/],
    disabled: ['user disabled', (p) => realm.setUser(p.subject, { enabled: false }), 'upstream_user_disabled', /Users > disabled > Enabled/],
    deleted: ['user deleted', (p) => realm.call('DELETE', `/users/${p.subject}`), 'upstream_session_ended', endedThere],
    withdrawn: ['right to offline access withdrawn', (p) => realm.dropRoles(p.subject), 'upstream_consent_withdrawn', /Users > withdrawn > Role mapping/],
    regretted: ['consent withdrawn at the provider', (p) => realm.call('DELETE', `/users/${p.subject}/consents/hostedmcp`), 'upstream_session_ended', /REVOKE_GRANT/],
    moved: ['no longer in the group', (p) => realm.leaveGroup(p.subject, 'sales'), 'access_rule', /Users > moved > Groups/],
  };
  const people = Object.fromEntries(await Promise.all([...Object.keys(rows), 'robbed', 'own', 'command', 'paged', 'before']
    .map(async (name) => [name, await site.join(name)])));
  await sleep(1100); // Keycloak's not-before counts whole seconds: a login in the same one outlives a sign-out everywhere
  for (const [name, [, play]] of Object.entries(rows)) await play(people[name]);
  await site.due();
  for (const [name, [what, , reason, advice]] of Object.entries(rows)) {
    await lost(site, people[name], reason);
    await agree(site, what, people[name], reason, advice);
  }
  await ours(site, people);

  const p = people.before;
  await realm.set({ notBefore: Math.floor(Date.now() / 1000) + 1 });
  await site.due();
  await lost(site, p, 'upstream_session_ended');
  await agree(site, 'not-before pushed', p, 'upstream_session_ended', /Revocation \(not before\)/);
  await realm.set({ notBefore: 0 });
  equal('ends by the provider that were counted', await site.metric('hostedmcp_grants_ended_total', 'reason="upstream_session_ended"'), 5);
  await closed(site);
}

// ours are ends that the provider has no part in.
async function ours(site, people) {
  const { robbed, own, command, paged } = people;
  for (const p of [own, command, paged]) p.memory = true; // their requests find an end that others made
  const stolen = robbed.client.tokens.refresh_token;
  await robbed.client.refresh();
  await site.call(robbed);
  await sleep(1500); // past retry_window
  const thief = await robbed.client.refresh(stolen);
  equal('a thief with the old token', thief.status, 400);
  robbed.request = thief.headers.get('x-request-id');
  await agree(site, 'refresh token reused by a thief', robbed, 'refresh_reuse', /take it for a theft/);

  const jar = await site.signIn('own');
  equal('the user ends it', (await site.end(jar, own)).status, 303);
  const page = (await site.page(jar)).text;
  check('their own page says so', page.includes('<code class="small">user_revoked</code>'), page.slice(0, 300));
  await lost(site, own, 'user_revoked');
  await agree(site, 'ended by the user on the status page', own, 'user_revoked', /connect again at any time/);

  equal('grants end', (await site.run('grants', 'end', command.id)).code, 0);
  await lost(site, command, 'admin_revoked');
  await agree(site, 'ended by an operator\'s command', command, 'admin_revoked', /Users > command > Enabled/);

  equal('the operator ends it', (await site.end(site.operator, paged, `/status?subject=${paged.subject}`)).status, 303);
  await lost(site, paged, 'admin_revoked');
  await agree(site, 'ended by an operator on the status page', paged, 'admin_revoked', /Users > paged > Enabled/);
}

// ---------------------------------------------------------------- strict rotation
const reuse = /Realm settings > Tokens > Revoke Refresh Token/;

async function strict() {
  say('--- strict rotation');
  const site = await Site.make(admin, 'hist-strict', { realm: { revokeRefreshToken: true, refreshTokenMaxReuse: 0 }, rotation: 'strict' });
  const copied = await site.join('copied'), token = site.tap.grants('authorization_code').at(-1).json.refresh_token;
  const crashed = await site.join('crashed'), restored = await site.join('restored'), over = await site.join('over');

  // somebody uses the provider's own token: Keycloak sees it twice
  await fetch(`${site.tap.url}/realms/hist-strict/protocol/openid-connect/token`, { method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, client_id: 'hostedmcp', client_secret: 'hostedmcp-test-secret' }) });
  await site.due();
  await lost(site, copied, 'upstream_reuse');
  await agree(site, 'provider\'s token used by somebody else', copied, 'upstream_reuse', reuse);

  // killed between Keycloak's answer and our hearing it
  const answered = site.tap.unheard();
  const call = site.call(crashed).catch(() => {});
  const answer = await answered;
  await site.hosted.crash();
  answer.destroy();
  await call;
  await sleep(1500); // holdoff
  await lost(site, crashed, 'upstream_lost');
  await agree(site, 'crash in doubt', crashed, 'upstream_lost', reuse);

  await fromBackup(site, restored, over);
  await lost(site, restored, 'upstream_lost');
  await agree(site, 'restored from an old backup, strict', restored, 'upstream_lost', reuse);
  await closed(site);
}

// fromBackup puts a backup back from before a renewal of p and the end of over.
async function fromBackup(site, p, over) {
  const file = path.join(site.hosted.dir, 'backup.db');
  const made = await site.run('backup', file);
  equal('backup', made.code, 0) || say(made.errors);
  await site.due();
  check('a renewal after the backup', await site.well(p), 'it did not work');
  if (over) equal('an end after the backup', (await site.run('grants', 'end', over.id)).code, 0);
  await site.hosted.stop();
  const put = await site.run('restore', file);
  equal('restore', put.code, 0) || say(put.errors);
  const e = await site.run('explain', p.id);
  check('explain on the restored file', e.out.startsWith('restored: '), e.out.split('\n')[0] || e.errors);
  if (over) {
    const o = await site.run('explain', over.id);
    check('what ended stays ended', o.out.startsWith('admin_revoked: '), o.out.split('\n')[0] || o.errors);
  }
  await site.hosted.start();
  site.operator = await site.signIn('bob');
  site.counted = {};
}

// ---------------------------------------------------------------- limits of the realm
async function idle() {
  say('--- idle limits');
  const limits = { ssoSessionIdleTimeout: 8, offlineSessionIdleTimeout: 8 };
  const online = await Site.make(admin, 'hist-idle', { realm: limits, provider: 'scopes = ["openid"]' });
  const a = await online.join('silent');
  const offline = await Site.make(admin, 'hist-offline', { realm: limits });
  const b = await offline.join('away');
  await sleep(12000);
  await lost(online, a, 'upstream_session_expired');
  await agree(online, 'idle limit of the realm, no offline access', a, 'upstream_session_expired', /Realm settings > Sessions > SSO Session Idle/);
  await lost(offline, b, 'upstream_session_ended');
  await agree(offline, 'offline idle limit of the realm', b, 'upstream_session_ended', sessions);
  await closed(online);
  await closed(offline);
}

// ---------------------------------------------------------------- troubles, after which nobody is logged out
async function troubles() {
  say('--- troubles');
  const site = await Site.make(admin, 'hist-trouble', { provider: 'suspect_after = "2s"', holdoff: '15s' });
  const all = await Promise.all(['one', 'two', 'three', 'four'].map((name) => site.join(name)));
  const { tap, realm } = site, [p] = all;
  const trouble = async (what, reason, advice, begin, heal) => {
    await begin();
    await site.due();
    await until(async () => {
      await Promise.all(all.map((q) => site.call(q)));
      return (await site.json('grants', 'show', p.id)).upstream.trouble === reason;
    }, 120, 1000);
    await agree(site, what, p, reason, advice);
    await heal();
    const healed = await Promise.all(all.map((q) => site.well(q, 60)));
    check('healed: nobody was logged out', healed.every(Boolean), healed);
    check('explain says so', (await site.json('explain', p.id)).stories[0].state === 'healthy', 'not healthy');
  };

  await trouble('provider down', 'upstream_unreachable', /Reach the provider: name, network, TLS/, tap.down, tap.up);
  await trouble('provider answers 503', 'upstream_error', /provider's own log says why/,
    () => { tap.trouble = (q, a) => { a.writeHead(503); a.end(); }; }, () => { tap.trouble = null; });
  await trouble('client secret changed', 'upstream_config', /Credentials > Client Secret/,
    () => realm.setClient({ secret: 'another' }), () => realm.setClient({ secret: 'hostedmcp-test-secret' }));
  // the same name, other keys, no sessions: and then the right one again
  const wrong = {};
  const swap = async () => { await realm.set({ realm: 'hist-away' }); wrong.realm = await admin.realm('hist-trouble', { accessTokenLifespan: life }); };
  const back = async () => { await wrong.realm.call('DELETE', ''); await realm.set({ realm: 'hist-trouble' }); };
  await trouble('provider on a wrong database', 'upstream_config', /Realm settings > Keys > Providers/, swap, back);

  await fromBackup(site, p);
  delete p.request; // of a call before
  await agree(site, 'restored from an old backup', p, 'restored', /Nothing to do: the next answer of the provider settles it/);
  check('without rotation nobody is logged out', (await Promise.all(all.map((q) => site.well(q, 60)))).every(Boolean));
  await stop(site);
}
