// The AWS SDK as an application of S3: `objects.mjs WAY ENDPOINT SECRET`. WAY is `proxy` (through CONNECT), `direct`
// (the endpoint is Sluice in base-URL mode) or `control` (it is S3 itself, and the secret the real one); `refused` and
// `refused-control` expect that S3 does not take the signature. Prints what it did, for the runs to be compared.
import assert from 'node:assert';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { Readable } from 'node:stream';
import {
    CompleteMultipartUploadCommand, CopyObjectCommand, CreateMultipartUploadCommand,
    DeleteObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand,
    S3Client, UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Hash } from '@smithy/core/serde';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { SignatureV4 } from '@smithy/signature-v4';
import { HttpsProxyAgent } from 'https-proxy-agent';

const [way, endpoint, secretAccessKey] = process.argv.slice(2);
const credentials = { accessKeyId: way.endsWith('control') ? 'S3RVER' : 'AKIDUMMY', secretAccessKey };
const region = 'eu-central-1';
const agent = way === 'proxy' ? new HttpsProxyAgent(process.env.HTTPS_PROXY, { keepAlive: true }) : undefined;
const s3 = new S3Client({
    endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1,
    requestHandler: agent && new NodeHttpHandler({ httpsAgent: agent }),
});
const Bucket = 'bucket';
const send = (command, input) => s3.send(new command({ Bucket, ...input }));

// The same bytes each time, so that runs can be compared.
const content = (size) => {
    const block = createHash('sha512').update(String(size)).digest();
    return Buffer.alloc(size, block);
};
const sum = (data) => `${data.length} ${createHash('sha256').update(data).digest('hex').slice(0, 16)}`;

async function read(Key, more) {
    const answer = await send(GetObjectCommand, { Key, ...more });
    return Buffer.from(await answer.Body.transformToByteArray());
}

// A request of our own making, for what the SDK does not send.
async function raw(method, url, headers, body) {
    const request = (url.startsWith('https:') ? tlsRequest : plainRequest)(url, { method, headers, agent });
    request.end(body);
    const [answer] = await once(request, 'response');
    const parts = [];
    for await (const part of answer) parts.push(part);
    return [answer.statusCode, Buffer.concat(parts)];
}

async function bodies() {
    for (const size of [0, 1, 1000, 5_000_000]) {
        const data = content(size);
        await send(PutObjectCommand, { Key: `whole/${size}`, Body: data, ContentType: 'text/plain', Metadata: { note: `of  ${size} ` } });
        const { ContentLength, ContentType, Metadata } = await send(HeadObjectCommand, { Key: `whole/${size}` });
        assert(data.equals(await read(`whole/${size}`)), `${size} bytes differ`);
        console.log('whole', ContentLength, ContentType, JSON.stringify(Metadata));
    }
    if (endpoint.startsWith('https:')) { // without TLS the SDK does not send what it cannot hash before
        const data = content(5_000_001);
        const Body = Readable.from([data.subarray(0, 70_000), data.subarray(70_000, 70_001), data.subarray(70_001)]);
        await send(PutObjectCommand, { Key: 'streamed', Body, ContentLength: data.length });
        console.log('streamed', sum(await read('streamed')));
    }
    console.log('a range', sum(await read('whole/1000', { Range: 'bytes=10-19' })));
}

const keys = [
    'plain', 'a space', 'plus+plus', 'ünï/cödé €', '日本/語', "quotes'()*!~", 'per%cent%2Fslash%', 'amp&eq=ques?hash#semi;',
    'colon:at@comma,dollar$', 'dots../..a/.hidden', '[brackets]{braces}|^`"<>\\', 'emoji 🙂', 'ends with/',
];

async function manyKeys() {
    for (const Key of keys) {
        await send(PutObjectCommand, { Key, Body: Key });
        assert.strictEqual((await read(Key)).toString(), Key);
        await send(HeadObjectCommand, { Key });
    }
    console.log('keys', keys.length);
    const prefixes = [undefined, 'a ', 'plus+', 'ünï/', '日', "quotes'(", 'per%', 'amp&eq=', 'colon:', 'emoji 🙂', 'whole/', '/', '+', '*'];
    for (const Prefix of prefixes) {
        for (const more of [{}, { Delimiter: '/' }, { StartAfter: 'a space' }]) {
            const answer = await send(ListObjectsV2Command, { Prefix, ...more });
            console.log('list', Prefix, JSON.stringify(more), JSON.stringify(answer.Contents?.map((object) => object.Key)),
                JSON.stringify(answer.CommonPrefixes), answer.IsTruncated);
        }
    }
    await send(CopyObjectCommand, { Key: 'copied key', CopySource: `${Bucket}/plain` });
    console.log('copied', (await read('copied key')).toString());
    await send(DeleteObjectCommand, { Key: 'copied key' });
    await assert.rejects(read('copied key'), { name: 'NoSuchKey' });
    const Objects = keys.slice(0, 3).map((Key) => ({ Key }));
    const { Deleted } = await send(DeleteObjectsCommand, { Delete: { Objects } });
    console.log('deleted', JSON.stringify(Deleted));
}

async function multipart() {
    const Key = 'in parts/ü+';
    const { UploadId } = await send(CreateMultipartUploadCommand, { Key });
    const Parts = [];
    for (const [index, size] of [5 * 1024 * 1024, 5 * 1024 * 1024, 17].entries()) {
        const { ETag } = await send(UploadPartCommand, { Key, UploadId, PartNumber: index + 1, Body: content(size) });
        Parts.push({ ETag, PartNumber: index + 1 });
    }
    await send(CompleteMultipartUploadCommand, { Key, UploadId, MultipartUpload: { Parts } });
    console.log('in parts', sum(await read(Key)));
}

async function presigned() {
    const Key = 'presigned/ü +&';
    const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key, ContentType: 'text/plain' }), { expiresIn: 60 });
    console.log('presigned PUT', (await raw('PUT', put, { 'content-type': 'text/plain', 'content-length': 5 }, 'hello'))[0]);
    const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key, ResponseContentType: 'text/x' }), { expiresIn: 60 });
    const [status, body] = await raw('GET', get, {});
    console.log('presigned GET', status, body.toString());
}

// STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with and without a trailer, which older SDKs and those of other languages send.
async function signedChunks(trailer) {
    const signer = new SignatureV4({ credentials, region, service: 's3', sha256: Hash.bind(null, 'sha256'), uriEscapePath: false });
    const data = content(200_001);
    const size = 65_536;
    const kind = `STREAMING-AWS4-HMAC-SHA256-PAYLOAD${trailer ? '-TRAILER' : ''}`;
    const url = new URL(`${endpoint}/${Bucket}/chunks`);
    const signingDate = new Date();
    const chunks = [];
    for (let at = 0; at < data.length; at += size) chunks.push(data.subarray(at, at + size));
    chunks.push(Buffer.alloc(0));
    const lines = trailer ? [`x-amz-checksum-sha256:${createHash('sha256').update(data).digest('base64')}`] : [];
    const overhead = (chunk) => chunk.length.toString(16).length + ';chunk-signature='.length + 64 + 4 + chunk.length;
    const length = chunks.reduce((all, chunk) => all + overhead(chunk), 0)
        + lines.reduce((all, line) => all + line.length + 2, 0) + (trailer ? 'x-amz-trailer-signature:'.length + 66 : 0);
    const headers = {
        host: url.host, 'content-encoding': 'aws-chunked', 'content-length': String(length), 'x-amz-content-sha256': kind,
        'x-amz-decoded-content-length': String(data.length), ...(trailer && { 'x-amz-trailer': 'x-amz-checksum-sha256' }),
    };
    const signed = await signer.sign({ method: 'PUT', path: url.pathname, query: {}, headers }, { signingDate });
    const time = signed.headers['x-amz-date'];
    let before = signed.headers.authorization.split('Signature=')[1];
    const hex = (bytes) => createHash('sha256').update(bytes).digest('hex');
    const next = async (what, ...hashes) => {
        const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`;
        before = await signer.sign([`AWS4-HMAC-SHA256-${what}`, time, scope, before, ...hashes].join('\n'), { signingDate });
        return before;
    };
    const body = [];
    for (const chunk of chunks) {
        const signature = await next('PAYLOAD', hex(''), hex(chunk));
        body.push(`${chunk.length.toString(16)};chunk-signature=${signature}\r\n`, chunk, chunk.length ? '\r\n' : '');
    }
    for (const line of lines) body.push(`${line}\r\n`);
    if (trailer) body.push(`x-amz-trailer-signature:${await next('TRAILER', hex(lines.map((line) => `${line}\n`).join('')))}\r\n`);
    body.push('\r\n');
    const [status, text] = await raw('PUT', url.href, signed.headers, Buffer.concat(body.map((part) => Buffer.from(part))));
    assert.strictEqual(status, 200, text.toString());
    console.log(kind, sum(await read('chunks')));
}

// The next run finds nothing of this one.
async function emptied() {
    const { Contents } = await send(ListObjectsV2Command, {});
    for (const { Key } of Contents) await send(DeleteObjectCommand, { Key });
    const { KeyCount } = await send(ListObjectsV2Command, {});
    console.log('deleted', Contents.length, 'left', KeyCount);
}

if (way.startsWith('refused')) {
    await assert.rejects(send(PutObjectCommand, { Key: 'refused', Body: 'x' }), { name: 'SignatureDoesNotMatch' });
    await assert.rejects(read('refused'), { name: 'SignatureDoesNotMatch' });
} else {
    await bodies();
    await manyKeys();
    await multipart();
    await presigned();
    await signedChunks(false);
    await signedChunks(true);
    await emptied();
}
