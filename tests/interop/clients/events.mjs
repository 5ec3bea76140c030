// Server-sent events from the address given: the vendor sends each only after the one before has arrived here.
import assert from 'node:assert';
import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';

setGlobalDispatcher(new EnvHttpProxyAgent());
const url = process.argv[2];
const headers = { authorization: process.env.APPLICATION_AUTHORIZATION, accept: 'text/event-stream' };
const answer = await fetch(url, { headers });
assert.strictEqual(answer.headers.get('content-type'), 'text/event-stream');

let seen = '';
for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    seen += chunk;
    if (/(one|two)\n\n$/.test(seen)) await fetch(`${url}/next`, { method: 'POST', headers });
}
assert.strictEqual(seen, 'data: one\n\ndata: two\n\ndata: three\n\n');
