// OpenAI's SDK, through the proxy or, without an argument, as its own variables say: OPENAI_BASE_URL.
import assert from 'node:assert';
import OpenAI from 'openai';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';

const options = { maxRetries: 0 };
if (process.argv[2]) {
    options.baseURL = process.argv[2];
    options.fetch = undiciFetch;
    options.fetchOptions = { dispatcher: new EnvHttpProxyAgent() };
}
const client = new OpenAI(options);
const question = { model: 'a-model', messages: [{ role: 'user', content: 'hello' }] };

const whole = await client.chat.completions.create(question);
assert.strictEqual(whole.choices[0].message.content, 'You said hello');

// The vendor sends the next word when this one has arrived.
const words = [];
for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
    words.push(chunk.choices[0].delta.content);
    await client.post('/next');
}
assert.deepStrictEqual(words, ['You', ' said ', 'hello']);
