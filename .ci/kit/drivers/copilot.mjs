// GitHub Copilot CLI with its own-model mode (COPILOT_PROVIDER_BASE_URL, COPILOT_OFFLINE: no GitHub account): `copilot mcp add`,
// `/mcp auth kit` typed into the terminal UI (tmux), then `copilot -p`.
import { execFileSync } from 'node:child_process';
import { agent, sh, json, path, fs, E, W, log } from '../lib/agent.mjs';
import { opened, sleep } from '../lib/kit.mjs';
const D = path.join(E.HOME, '.copilot/mcp-oauth-config');
const all = (re) => { try { return fs.readdirSync(D).filter((f) => re.test(f)).map((f) => path.join(D, f)); } catch { return []; } };
const cred = () => all(/\.tokens\.json$/).map(json).find((x) => x?.refreshToken) || all(/\.tokens\.json$/).map(json).find((x) => x?.accessToken);
const S = `kit-${process.pid}`, tmux = (...a) => { try { return execFileSync('tmux', ['-L', S, '-f', '/dev/null', ...a], { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore'] }); } catch { return ''; } };
let env;
process.on('exit', () => tmux('kill-server'));
process.env.REFRESH ||= 'age-if-long';   // `copilot -p` does not refresh on a 401 ("requires authentication"), only by the clock
await agent('copilot', {
  pkg: '@github/copilot', delay: 2000,
  setup: async (c) => {
    env = { ...E, COPILOT_OFFLINE: 'true', COPILOT_PROVIDER_BASE_URL: c.model + '/v1', COPILOT_MODEL: 'fake', COPILOT_AUTO_UPDATE: 'false', COPILOT_ALLOW_ALL: 'true', TERM: 'xterm-256color' };
    await sh(c.bin, ['mcp', 'add', '--transport', 'http', 'kit', c.url], { env });
  },
  login: async (c) => {
    let s = '', ok;
    tmux('new-session', '-d', '-x', '160', '-y', '45', c.bin);
    for (let i = 0; i < 60 && !/❯/.test(s); i++) { await sleep(500); s = tmux('capture-pane', '-p'); }
    await sleep(1500);
    tmux('send-keys', '/mcp auth kit'); await sleep(500); tmux('send-keys', 'Enter');
    for (let i = 0; i < 90 && !ok; i++) { await sleep(500); s = tmux('capture-pane', '-p'); ok = /Authentication Successful|uthentication failed|Error/i.test(s); }
    for (let n = -1; opened() !== n;) { n = opened(); await sleep(3000); } // it logs in twice in a row
    log(s.replace(/\n\s*\n/g, '\n'));
    tmux('send-keys', 'Escape'); await sleep(500); tmux('kill-server');
    return { out: s.replace(/\s+/g, ' '), err: '' };
  },
  call: (c) => sh(c.bin, ['-p', `call the tool ${c.tool}`, '--allow-all-tools', '--no-color'], { env, timeout: 60 }),
  good: (o) => /[●✓] .+ \(MCP: kit\)/.test(o) && /RESULT/.test(o) && !/requires authentication/.test(o),
  tokens: () => { const x = cred(); return x && { access: x.accessToken, refresh: x.refreshToken, client: all(/[0-9a-f]\.json$/).filter((f) => !/tokens/.test(f)).map(json).find((y) => y?.clientId)?.clientId, expiresIn: x.expiresAt ? Math.max(0, Math.round(x.expiresAt - Date.now() / 1000)) : undefined }; },
  edit: (g) => { for (const f of all(/tokens\.json$/)) fs.writeFileSync(f, g(fs.readFileSync(f, 'utf8'))); },
  age: () => { for (const f of all(/tokens\.json$/)) fs.writeFileSync(f, fs.readFileSync(f, 'utf8').replace(/("expiresAt":)\d+/g, (_, k) => k + Math.floor(Date.now() / 1000 - 60))); },
});
