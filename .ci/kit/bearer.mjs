// bearer.mjs - a loopback proxy for programs that cannot send an access token: it adds the Authorization header and
// changes nothing else. Header names, their order and their case, the Host header, bodies and streams pass as they come; a
// client that goes away takes its request along.
import http from 'node:http';

// bearer starts one; to() is the origin behind it and token() the access token, both asked at every request.
export async function bearer(to, token) {
  const server = http.createServer((q, a) => {
    const target = new URL(to());
    const up = http.request({ host: target.hostname, port: target.port, method: q.method, path: q.url, setHost: false,
      headers: [...q.rawHeaders, 'Authorization', `Bearer ${token()}`] }, (r) => {
      a.sendDate = false; // theirs passes
      a.writeHead(r.statusCode, r.statusMessage, r.rawHeaders);
      a.flushHeaders();
      r.pipe(a);
      r.on('aborted', () => a.destroy());
    });
    up.on('error', () => a.destroy());
    a.on('close', () => up.destroy());
    q.pipe(up);
  }).listen(0, '127.0.0.1');
  await new Promise((r) => server.once('listening', r));
  const { port } = server.address();
  return { host: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}`, close: () => { server.closeAllConnections(); server.close(); } };
}
