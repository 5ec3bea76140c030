// ws, a WebSocket client, at the address given: `websocket.mjs URL direct|proxy`.
import assert from 'node:assert';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { HttpsProxyAgent } from 'https-proxy-agent';
import WebSocket from 'ws';

const [url, way] = process.argv.slice(2);
const socket = new WebSocket(url, {
    agent: way === 'proxy' ? new HttpsProxyAgent(process.env.HTTPS_PROXY) : undefined,
    headers: { authorization: process.env.APPLICATION_AUTHORIZATION },
    perMessageDeflate: true,
});

// The vendor speaks first: what it says may come in one piece with its answer to the upgrade.
const [welcome] = await once(socket, 'message');
assert.match(welcome.toString(), /^welcome to \/live\/echo$/);
assert.match(socket.extensions, /permessage-deflate/);

for (const message of ['a text', randomBytes(3), randomBytes(1_000_003)]) {
    socket.send(message);
    const [echo, binary] = await once(socket, 'message');
    assert.strictEqual(binary, Buffer.isBuffer(message));
    assert(Buffer.from(message).equals(echo), 'the echo differs');
}

socket.ping('are you there');
assert.strictEqual((await once(socket, 'pong'))[0].toString(), 'are you there');

socket.close(4321, 'enough');
assert.strictEqual((await once(socket, 'close'))[0], 4321);
