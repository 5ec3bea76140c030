// One of Node's HTTP clients, named by the argument: each does what support.sh calls the main job.
import { createReadStream, readFileSync, writeFileSync } from 'node:fs';

// Made anew for each request: undici's proxy agent writes the host into the object that it is given.
const headers = () => ({ authorization: process.env.APPLICATION_AUTHORIZATION });

// fetch is Node's own; undici's package only tells it of the proxy.
async function withFetch() {
    const { EnvHttpProxyAgent, setGlobalDispatcher } = await import('undici');
    setGlobalDispatcher(new EnvHttpProxyAgent());
    return async (method, url, file) => {
        const body = file && createReadStream(file); // streamed: no Content-Length
        const answer = await fetch(url, { method, headers: headers(), body, duplex: 'half' });
        return [answer.status, Buffer.from(await answer.arrayBuffer())];
    };
}

async function withUndici() {
    const { EnvHttpProxyAgent, interceptors, request } = await import('undici');
    const dispatcher = new EnvHttpProxyAgent().compose(interceptors.redirect({ maxRedirections: 2 }));
    return async (method, url, file) => {
        const body = file && readFileSync(file);
        const answer = await request(url, { method, headers: headers(), body, dispatcher });
        return [answer.statusCode, Buffer.from(await answer.body.arrayBuffer())];
    };
}

async function withAxios() {
    const { default: axios } = await import('axios');
    return async (method, url, file) => {
        const data = file && readFileSync(file);
        const options = { responseType: 'arraybuffer', validateStatus: null };
        const answer = await axios({ method, url, headers: headers(), data, ...options });
        return [answer.status, answer.data];
    };
}

const client = { fetch: withFetch, undici: withUndici, axios: withAxios }[process.argv[2]];
const send = await client();
for (const line of readFileSync(0, 'utf8').trim().split('\n')) {
    const [method, url, file, save] = line.split(' ');
    const [status, body] = await send(method, url, file === '-' ? undefined : file);
    writeFileSync(save, body);
    console.log(status);
}
