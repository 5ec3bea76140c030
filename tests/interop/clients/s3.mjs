// The AWS SDK's S3 client, through the proxy (`s3.mjs ENDPOINT proxy`) or at an endpoint in base-URL mode.
import assert from 'node:assert';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { HttpsProxyAgent } from 'https-proxy-agent';

const [endpoint, way] = process.argv.slice(2);
const options = { endpoint, forcePathStyle: true, region: 'eu-central-1', maxAttempts: 1 };
options.credentials = { accessKeyId: 'of-the-application', secretAccessKey: 'of-the-application' };
if (way === 'proxy') {
    const agent = new HttpsProxyAgent(process.env.HTTPS_PROXY, { keepAlive: true });
    options.requestHandler = new NodeHttpHandler({ httpsAgent: agent });
}
const client = new S3Client(options);

async function stored(Key) {
    const answer = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key }));
    return { ...answer.Metadata, content: Buffer.from(await answer.Body.transformToByteArray()) };
}

// Large enough for the SDK to ask with Expect: 100-continue first.
const content = randomBytes(3_000_001);
await client.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'whole', Body: content }));
assert(content.equals((await stored('whole')).content), 'the object differs');

if (way === 'proxy') { // over plain HTTP the SDK does not send what it cannot hash before
    const Body = Readable.from([content.subarray(0, 100_000), content.subarray(100_000)]);
    const ContentLength = content.length;
    await client.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'streamed', Body, ContentLength }));
    const object = await stored('streamed');
    assert(content.equals(object.content), 'the streamed object differs');
    assert.match(object.trailer, /^x-amz-checksum-crc32:/);
}

await assert.rejects(stored('nowhere'), { name: 'NoSuchKey' });
