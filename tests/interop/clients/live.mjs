// The vendor's living part, behind nginx: an echo for WebSockets, events one by one, git's own server, and as much of
// three APIs as their SDKs need. `live.mjs SOCKET REPOSITORIES` listens on a socket file, and says so in a line.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

// An event stream sends its next event when somebody has asked for it at .../next: that can only be a client that
// has received the one before.
let next = () => {};
const asked = () => new Promise((resolve) => { next = resolve; });

async function stream(answer, events) {
    answer.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const [index, event] of events.entries()) {
        if (index > 0) await asked();
        answer.write(`data: ${event}\n\n`);
    }
    answer.end();
}

function json(answer, value) {
    answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function completion(body, answer) {
    const { model, messages, stream: streamed } = JSON.parse(body);
    const common = { id: 'chat-1', created: 1, model };
    const words = ['You', ' said ', messages[0].content];
    if (!streamed) {
        const message = { role: 'assistant', content: words.join('') };
        return json(answer, { ...common, object: 'chat.completion', choices: [{ index: 0, message }] });
    }
    const chunks = words.map((content) =>
        JSON.stringify({ ...common, object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] }));
    return stream(answer, [...chunks, '[DONE]']);
}

// The SDK of S3 sends a stream in chunks of its own, inside of HTTP's, with a checksum behind the last one.
function withoutAwsChunks(body) {
    const parts = [];
    for (let at = 0; ;) {
        const line = body.indexOf('\r\n', at);
        const size = parseInt(body.toString('latin1', at, line), 16);
        if (size === 0) return { content: Buffer.concat(parts), trailer: body.toString('latin1', line + 2).trim() };
        parts.push(body.subarray(line + 2, line + 2 + size));
        at = line + 2 + size + 2;
    }
}

const objects = new Map();

function bucket(request, path, body, answer) {
    if (request.method === 'PUT') {
        const chunked = (request.headers['content-encoding'] ?? '').includes('aws-chunked');
        const { content, trailer } = chunked ? withoutAwsChunks(body) : { content: body, trailer: '' };
        objects.set(path, { content, trailer, expect: request.headers.expect ?? '' });
        answer.writeHead(200, { etag: '"1"' }).end();
    } else if (objects.has(path)) {
        const { content, trailer, expect } = objects.get(path);
        answer.writeHead(200, { etag: '"1"', 'x-amz-meta-trailer': trailer, 'x-amz-meta-expect': expect }).end(content);
    } else {
        answer.writeHead(404, { 'content-type': 'application/xml' })
            .end('<Error><Code>NoSuchKey</Code><Message>there is none</Message></Error>');
    }
}

// `git http-backend` is a CGI program: it answers with a head of its own, then the body.
async function git(request, path, query, body, answer) {
    const backend = spawn('git', ['-c', 'http.receivepack=true', 'http-backend'], {
        env: {
            PATH: process.env.PATH,
            GIT_PROJECT_ROOT: process.argv[3],
            GIT_HTTP_EXPORT_ALL: '1',
            GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
            REQUEST_METHOD: request.method,
            PATH_INFO: path,
            QUERY_STRING: query,
            CONTENT_TYPE: request.headers['content-type'] ?? '',
            CONTENT_LENGTH: String(body.length),
            HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        },
        stdio: ['pipe', 'pipe', 'inherit'],
    });
    backend.stdin.on('error', () => {}); // it may end before it has read everything; its answer counts
    backend.stdin.end(body);
    const parts = [];
    for await (const part of backend.stdout) parts.push(part);
    const output = Buffer.concat(parts);
    const end = output.indexOf('\r\n\r\n');
    const fields = output.toString('latin1', 0, end).split('\r\n').map((line) => line.split(': '));
    const { Status: status = '200', ...headers } = Object.fromEntries(fields);
    answer.writeHead(parseInt(status, 10), headers).end(output.subarray(end + 4));
}

async function handle(request, answer) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const [path, query = ''] = request.url.replace('/live/', '').split('?');
    if (path.endsWith('/next')) {
        next();
        answer.writeHead(204).end();
    } else if (path === 'events') {
        await stream(answer, ['one', 'two', 'three']);
    } else if (path === 'openai/v1/chat/completions') {
        await completion(body, answer);
    } else if (path === 'stripe/v1/customers') {
        const form = new URLSearchParams(body.toString());
        json(answer, { id: 'cus_1', object: 'customer', email: form.get('email') });
    } else if (path.startsWith('git/')) {
        await git(request, path.slice('git'.length), query, body, answer);
    } else if (path.startsWith('s3/')) {
        bucket(request, path, body, answer);
    } else {
        answer.writeHead(404).end(`no such path: ${path}`);
    }
}

const server = createServer((request, answer) => {
    handle(request, answer).catch((error) => answer.destroy(error));
});
new WebSocketServer({ server, perMessageDeflate: true }).on('connection', (socket, request) => {
    socket.send(`welcome to ${request.url}`);
    socket.on('message', (data, binary) => socket.send(data, { binary }));
});
server.listen(process.argv[2], () => console.log('listening'));
