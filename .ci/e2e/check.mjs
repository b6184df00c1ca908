// check.mjs KEYCLOAK_URL   `print keycloak-client` and `check` against a real Keycloak; see ../keycloak
import fs from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { BIN, browse, check, equal, Hosted, main, say } from './lib.mjs';
import { Admin } from './realm.mjs';
import { API } from './api.mjs';

const admin = new Admin(process.argv[2]);

main(async () => {
  const realm = await admin.realm('checked'), api = await API.make(`${admin.base}/realms/checked`, 'crm-api');
  const h = await Hosted.make('hosted-checked', { top: 'insecure_loopback = true', rest: (x) => config(x, api) });

  // what we print is what Keycloak takes, and what check finds nothing wrong with
  const printed = await run(h, 'print', 'keycloak-client');
  equal('print keycloak-client', printed.code, 0) || say(printed.errors);
  await realm.call('POST', '/clients', JSON.parse(printed.out));
  const { secret } = await realm.client('printed');
  h.secretFile(secret);
  await h.crash(); // with the secret that Keycloak made
  await looks(h, 'the printed client, with a sign-in', ['-login'], [], ['ok client credentials', 'ok redirect uri', 'ok pkce required', 'ok offline_access',
    'ok refresh token issued', 'ok rotation mode', 'ok token exchange for crm-api', 'ok weekly automation', 'ok back-channel logout', 'ok public url']);

  // what is then broken at Keycloak is named, with its menu
  await looks(h, 'secret changed', [], ['FAIL client credentials'], [], () => realm.setClient({ secret: 'another' }, 'printed'), () => realm.setClient({ secret }, 'printed'));
  const ours = `${h.url}/callback`;
  await looks(h, 'redirect URI of another server', [], ['FAIL redirect uri', 'FAIL redirect uris'], [/Settings > Access settings > Valid redirect URIs/],
    () => realm.setClient({ redirectUris: ['https://mcp.example.com/callback'] }, 'printed'), () => realm.setClient({ redirectUris: [ours] }, 'printed'));
  await looks(h, 'strict rotation', [], ['FAIL rotation mode'], [/Realm settings > Tokens/], () => realm.set({ revokeRefreshToken: true, refreshTokenMaxReuse: 0 }),
    () => realm.set({ revokeRefreshToken: false }));
  await looks(h, 'all put right', [], []);
  await h.stop();
  await api.stop();
});

function config(h, api) {
  const [doctor, document] = ['doctor-secret', 'crm.json'].map((f) => path.join(h.dir, f));
  fs.writeFileSync(doctor, 'doctor-test-secret', { mode: 0o600 });
  fs.writeFileSync(document, JSON.stringify(api.document()));
  return `[clients]\ncimd = false\n[provider]\nissuer = "${admin.base}/realms/checked"\nclient_id = "printed"\nrotation = "none"\n`
    + `client_secret_file = "${h.secretFile('none yet')}"\nadmin_client_id = "doctor"\nadmin_client_secret_file = "${doctor}"\n`
    + `[[connector]]\nname = "crm"\nkind = "openapi"\ndocument = "${document}"\ncredential = "exchange"\naudience = "crm-api"\n`;
}

// looks runs check while something is broken: exactly these lines are FAIL, the exit code says so, and others are there,
// as "level name" or as a pattern of a step that mends it.
async function looks(h, what, flags, fails, others = [], breakIt = () => {}, mend = () => {}) {
  await breakIt();
  const r = await run(h, 'check', '-json', ...flags);
  await mend();
  equal(`check, ${what}: exit code`, r.code, fails.length ? 1 : 0);
  const { findings } = JSON.parse(r.out), lines = findings.map((f) => `${f.level} ${f.name}`);
  const bad = findings.filter((f) => f.level === 'FAIL');
  equal(`FAIL, ${what}`, bad.map((f) => `${f.level} ${f.name}`).sort().join(', '), fails.sort().join(', ')) || say(JSON.stringify(bad));
  check('each says how to mend it', bad.every((f) => f.fix), JSON.stringify(bad));
  const missing = others.filter((o) => (typeof o === 'string' ? !lines.includes(o) : !bad.some((f) => o.test(f.fix))));
  check(`what else it says, ${what}`, !missing.length, `${missing.join(', ')} not in ${lines.join(', ')}`);
}

// run runs a command; with -login somebody signs in with a browser and pastes the address back.
function run(h, ...args) {
  return new Promise((done) => {
    const p = spawn(BIN, [...args, '-config', h.config], { cwd: h.dir });
    let out = '', errors = '', asked = false;
    p.stdout.on('data', (d) => { out += d; });
    p.stderr.on('data', async (d) => {
      errors += d;
      const [address] = errors.match(/http:\S+\/auth\?\S+(?=\n)/) ?? [];
      if (!address || asked) return;
      asked = true;
      const r = await browse(address, { deliver: false, redirectUri: `${h.url}/callback` });
      p.stdin.end(`${r.callback}\n`);
    });
    p.on('close', (code) => done({ code, out, errors }));
  });
}
