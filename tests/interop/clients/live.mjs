// The vendor's living part, behind nginx: an echo for WebSockets, events one by one, and as much of three APIs as
// their SDKs need. `live.mjs SOCKET` listens on a socket file and prints a line when it does.
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

async function handle(request, answer) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const path = request.url.replace('/live/', '').replace(/\?.*/, '');
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
