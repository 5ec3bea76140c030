// A vendor and a token endpoint that tell everything on: `parrot.mjs FOLDER TOKEN` answers with what it was asked, raw
// and in each form that a secret could be given away in. It prints where it listens, and a line for what it holds back.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [folder, token] = process.argv.slice(2);
let held = () => {};
let refreshes = 0;

const decoded = (authorization) => authorization.startsWith('Basic ') ? Buffer.from(authorization.slice(6), 'base64').toString() : '';

const escaped = (value) => value.replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c]);

// Forms of each value by itself, as a vendor's error page, a debug view or a log line would have it.
function forms(value) {
    const bytes = Buffer.from(value);
    return [value, escaped(value), JSON.stringify(value), bytes.toString('base64'), bytes.toString('base64url'), bytes.toString('hex'), encodeURIComponent(value),
        Buffer.from(`x${value}`).toString('base64'), Buffer.from(`xy${value}`).toString('base64')];
}

function everything(request, body) {
    const values = [request.url, ...new URL(request.url, 'https://x').searchParams.values(), body, ...Object.values(request.headers)];
    for (const value of Object.values(request.headers)) values.push(value.replace(/^\S+ /, ''), decoded(value));
    return values.filter(Boolean).map((value) => forms(value).join('\n')).join('\n');
}

// GitHub's API and Vault's: what is refused is told with all that was sent.
function otherIssuer(request, body, reply) {
    const { 'x-vault-token': session = '', authorization = '' } = request.headers;
    const sent = `no ${body} ${authorization} ${session}`;
    const kept = (name) => readFileSync(`${folder}/${name}`, 'utf8');
    switch (request.url) {
    case '/github/app/installations/1/access_tokens':
        return answer(reply, 201, { token, expires_at: new Date(Date.now() + 3.6e6).toISOString().replace(/\.\d+/, ''), permissions: {} });
    case '/github/app/installations/2/access_tokens': return answer(reply, 401, { message: sent, documentation_url: `https://x/?${body}` });
    case '/vault/v1/auth/approle/login':
        return answer(reply, 200, { auth: { client_token: kept('vault-session'), lease_duration: 3600, renewable: false, metadata: { sent } }, data: null });
    case '/vault/v1/kv/data/good': return answer(reply, 200, { data: { data: { key: kept('vault-value') }, metadata: { version: 1, sent } }, lease_duration: 0 });
    default: return answer(reply, 403, { errors: [sent] });
    }
}

const answer = (reply, status, value) => reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

function tokenEndpoint(request, body, reply) {
    const { authorization = '' } = request.headers;
    const error_description = `no ${body} ${authorization} ${decoded(authorization)} ${new URLSearchParams(body)}`.replace(/["\\]/g, '');
    if (request.url.startsWith('/token/refused') || request.url.startsWith('/refused/')) {
        reply.setHeader('www-authenticate', `Basic realm="${decoded(authorization)}"`);
        return answer(reply, 401, { error: 'invalid_client', error_description, error_uri: `https://x/?${body}` });
    }
    if (request.url === '/token/odd') return answer(reply, 400, { error: body.slice(0, 200), error_description });
    if (request.url === '/token/garbage') return reply.end(`<html>${everything(request, body)}`);
    const granted = { access_token: token, token_type: 'Bearer', expires_in: 3600 };
    if (request.url === '/token/refresh') granted.refresh_token = `${token}-refresh-${refreshes++}`;
    return answer(reply, 200, granted);
}

async function handle(request, reply) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts).toString();
    if (/^\/token\/|^\/[a-z]+\/oauth2\//.test(request.url)) return tokenEndpoint(request, body, reply);
    if (/^\/(github|vault)\//.test(request.url)) return otherIssuer(request, body, reply);
    if (request.url === '/release') {
        held();
        return reply.end();
    }
    if (request.url.startsWith('/held')) {
        const released = new Promise((resolve) => { held = resolve; });
        console.log('held');
        await released;
    }
    const { authorization = 'none' } = request.headers;
    const headers = { 'content-type': 'text/plain', 'x-echo': authorization, 'x-echo-hex': Buffer.from(authorization).toString('hex') };
    if (request.url.startsWith('/redirect')) headers.location = `https://elsewhere.test/?from=${encodeURIComponent(request.url + authorization)}`;
    const status = request.url.startsWith('/refused') ? 401 : request.url.startsWith('/redirect') ? 302 : 200;
    return reply.writeHead(status, headers).end(`seen ${request.method}\n${everything(request, body)}\n`);
}

const options = { key: readFileSync(`${folder}/vendor.key`), cert: readFileSync(`${folder}/vendor.crt`) };
const server = createServer(options, (request, reply) => { handle(request, reply).catch((error) => reply.destroy(error)); });
server.listen(0, 'localhost');
await once(server, 'listening');
console.log('listening', `https://localhost:${server.address().port}`);
