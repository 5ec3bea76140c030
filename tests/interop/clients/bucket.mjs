// s3rver, an S3 that somebody else wrote, and before it what it does not have: version 4 of the signature, worked out
// anew with AWS's own signer, and aws-chunked bodies. `bucket.mjs FOLDER SECRET` prints where it listens, without TLS
// and with it; below the folder it keeps objects, and reads vendor.key and vendor.crt. What it is asked, and how that
// was signed, goes to the log, a line each.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, request as forward } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Hash } from '@smithy/core/serde';
import { SignatureV4 } from '@smithy/signature-v4';
import S3rver from 's3rver';

const Sha256 = Hash.bind(null, 'sha256');
const [folder, secret] = process.argv.slice(2);
const accessKeyId = 'S3RVER'; // the one that s3rver knows

class Refusal extends Error {
    constructor(status, code, message) {
        super(message);
        Object.assign(this, { status, code });
    }
}

const mismatch = (what) => new Refusal(403, 'SignatureDoesNotMatch', `The signature of ${what} is another one.`);
const same = (one, other) => one?.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other));
const hex = (data) => createHash('sha256').update(data).digest('hex');

// Percent-decoded, and nothing else: "+" is a plus.
function queryOf(text) {
    const query = {};
    for (const pair of text.split('&').filter(Boolean)) {
        const [name, value = ''] = pair.split(/=(.*)/s).map(decodeURIComponent);
        query[name] = query[name] === undefined ? value : [query[name], value].flat();
    }
    return query;
}

// What was shown: in the header, or in the query of a presigned URL.
function shown(request, query) {
    const [, fields] = /^AWS4-HMAC-SHA256 (.*)$/.exec(request.headers.authorization ?? '') ?? [];
    if (fields && query['X-Amz-Signature']) throw new Refusal(400, 'InvalidArgument', 'Only one auth mechanism allowed');
    const parts = fields ? Object.fromEntries(fields.split(/, */).map((field) => field.split(/=(.*)/s)))
        : { Credential: query['X-Amz-Credential'], SignedHeaders: query['X-Amz-SignedHeaders'], Signature: query['X-Amz-Signature'] };
    if (!parts.Credential || !parts.SignedHeaders || !parts.Signature) throw new Refusal(403, 'AccessDenied', 'Nobody asks.');
    const [id, day, region, service] = parts.Credential.split('/');
    const time = fields ? request.headers['x-amz-date'] : query['X-Amz-Date'];
    if (id !== accessKeyId) throw new Refusal(403, 'InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.');
    if (!time?.startsWith(day)) throw new Refusal(403, 'AccessDenied', 'The day and the time differ.');
    const date = new Date(time.replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'));
    if (!(Math.abs(date - Date.now()) < 900_000)) throw new Refusal(403, 'RequestTimeTooSkewed', `It is not ${time}.`);
    return { presigned: !fields, names: parts.SignedHeaders.split(';'), signature: parts.Signature, region, service, time, date };
}

function signerFor({ region, service }) {
    const credentials = { accessKeyId, secretAccessKey: secret };
    return new SignatureV4({ credentials, region, service, sha256: Sha256, uriEscapePath: false, applyChecksum: false });
}

// A signature that is made anew: of a presigned URL the signer puts the same parameters into the query again.
async function signatureOf(request, path, query, claim, payload) {
    const headers = Object.fromEntries(claim.names.map((name) => [name, request.headers[name] ?? '']));
    headers[claim.presigned ? 'X-Amz-Content-Sha256' : 'x-amz-content-sha256'] = payload; // it becomes a parameter
    const options = { signingDate: claim.date, signableHeaders: new Set(claim.names) };
    if (!claim.presigned) {
        const signed = await signerFor(claim).sign({ method: request.method, path, query, headers }, options);
        return signed.headers.authorization.split('Signature=')[1];
    }
    const bare = { ...query };
    for (const name of ['Signature', 'Algorithm', 'Credential', 'Date', 'Expires', 'SignedHeaders', 'Content-Sha256'])
        delete bare[`X-Amz-${name}`];
    Object.assign(options, { expiresIn: Number(query['X-Amz-Expires']), unhoistableHeaders: new Set(claim.names) });
    const signed = await signerFor(claim).presign({ method: request.method, path, query: bare, headers }, options);
    return signed.query['X-Amz-Signature'];
}

async function verifyHead(request, path, query, claim) {
    for (const name of Object.keys(request.headers)) { // as S3 wants it
        if ((name === 'host' || name.startsWith('x-amz-')) && !claim.names.includes(name)) throw mismatch(`a head without ${name}`);
    }
    const payload = (claim.presigned ? query['X-Amz-Content-Sha256'] : request.headers['x-amz-content-sha256']) ?? '';
    if (!same(claim.signature, await signatureOf(request, path, query, claim, payload))) throw mismatch('the head');
    return payload;
}

// The parts of an aws-chunked body: {extension, data}, and the trailer's lines.
function* chunksOf(body) {
    for (let at = 0; ;) {
        const line = body.indexOf('\r\n', at);
        const [size, extension = ''] = body.toString('latin1', at, line).split(';');
        const length = parseInt(size, 16);
        const data = body.subarray(line + 2, line + 2 + length);
        if (line < 0 || !/^[0-9a-f]+$/i.test(size) || data.length < length) throw new Refusal(400, 'IncompleteBody', `no chunk at ${at}`);
        if (length === 0) return yield { extension, data, trailer: body.toString('latin1', line + 2).split('\r\n').filter(Boolean) };
        yield { extension, data };
        at = line + 2 + length + 2;
    }
}

async function verifyChunks(payload, claim, chunks) {
    const signer = signerFor(claim);
    const scope = `${claim.time.slice(0, 8)}/${claim.region}/${claim.service}/aws4_request`;
    let before = claim.signature;
    const next = async (kind, ...hashes) => {
        before = await signer.sign([`AWS4-HMAC-SHA256-${kind}`, claim.time, scope, before, ...hashes].join('\n'), { signingDate: claim.date });
        return before;
    };
    for (const [index, { extension, data, trailer }] of chunks.entries()) {
        const signature = await next('PAYLOAD', hex(''), hex(data));
        if (!same(extension.replace('chunk-signature=', ''), signature)) throw mismatch(`chunk ${index}`);
        if (!trailer || !payload.endsWith('-TRAILER')) continue;
        const signed = trailer.filter((line) => !line.startsWith('x-amz-trailer-signature:'));
        const own = trailer.find((line) => line.startsWith('x-amz-trailer-signature:'))?.split(':')[1];
        if (!same(own, await next('TRAILER', hex(signed.map((line) => `${line}\n`).join(''))))) throw mismatch('the trailer');
    }
}

async function verified(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const [path, text = ''] = request.url.split(/\?(.*)/s);
    const query = queryOf(text);
    const claim = shown(request, query);
    const payload = await verifyHead(request, path, query, claim);
    console.log(request.method, claim.presigned ? 'presigned' : payload.replace(/^[0-9a-f]{64}$/, 'hashed'), request.url);
    if (/^[0-9a-f]{64}$/.test(payload) && hex(body) !== payload)
        throw new Refusal(400, 'XAmzContentSHA256Mismatch', 'The body is not what was hashed.');
    if (!payload.startsWith('STREAMING-')) return body;
    const chunks = [...chunksOf(body)];
    if (payload.startsWith('STREAMING-AWS4-HMAC-SHA256-PAYLOAD')) await verifyChunks(payload, claim, chunks);
    const content = Buffer.concat(chunks.map(({ data }) => data));
    if (content.length !== Number(request.headers['x-amz-decoded-content-length']))
        throw new Refusal(400, 'IncompleteBody', 'The decoded length is another one.');
    return content;
}

// What is verified goes on to s3rver, whose errors are its own.
function handler(port) {
    return async (request, reply) => {
        try {
            const body = await verified(request);
            const headers = { ...request.headers, 'content-length': body.length };
            delete headers['transfer-encoding'];
            delete headers.expect;
            if (headers['content-encoding']?.startsWith('aws-chunked')) delete headers['content-encoding'];
            const onward = forward({ port, method: request.method, path: request.url, headers });
            onward.end(body);
            const [answer] = await once(onward, 'response');
            reply.writeHead(answer.statusCode, answer.headers);
            answer.pipe(reply);
        } catch (error) {
            console.log(request.method, error.code, request.url, error.message);
            const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${error.code}</Code><Message>${error.message}</Message></Error>`;
            reply.writeHead(error.status ?? 500, { 'content-type': 'application/xml' }).end(text);
        }
    };
}

async function listen(server) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server.address().port;
}

const s3rver = new S3rver({
    address: '127.0.0.1', port: 0, directory: `${folder}/buckets`, silent: true, vhostBuckets: false,
    configureBuckets: [{ name: 'bucket' }],
});
const { port } = await s3rver.run();
const tls = { key: readFileSync(`${folder}/vendor.key`), cert: readFileSync(`${folder}/vendor.crt`) };
console.log('listening', await listen(createServer(handler(port))), await listen(createTlsServer(tls, handler(port))));
