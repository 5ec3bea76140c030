// Token endpoints that somebody else wrote, and a vendor that believes nothing but what they sign: `issuers.mjs FOLDER`
// reads certificates and keys there, writes a first refresh token and a subject token beside them, and prints where the
// token endpoints and the vendor listen. The vendor shows what it saw: the claims of the token, and every header, so that an answer that is not masked
// gives the token away. What a client may not do is an error of the issuer, as its authors wrote it.
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:https';
import * as jose from 'jose';
import { OAuth2Server } from 'oauth2-mock-server';
import { Provider } from 'oidc-provider';

const folder = process.argv[2];
const read = (name) => readFileSync(`${folder}/${name}`);
const tls = { key: read('vendor.key'), cert: read('vendor.crt') };
const secret = read('client.secret').toString();
const resource = 'https://api.vendor.test/';

async function listen(options, handler) {
    const server = createServer({ ...tls, ...options }, handler);
    server.listen(0, 'localhost');
    await once(server, 'listening');
    return [server, `https://localhost:${server.address().port}`];
}

const requests = {}; // of tokens, by client: what succeeded, and the errors of what did not
function count(client, what) {
    requests[client] ??= {};
    requests[client][what] = (requests[client][what] ?? 0) + 1;
}

// ---- oauth2-mock-server gives tokens to everybody: who asks, and how, is looked at here.

async function startMock() {
    const mock = new OAuth2Server();
    await mock.issuer.keys.generate('ES256');
    mock.service.on('beforeResponse', (response, request) => {
        const [scheme, pair = ''] = (request.headers.authorization ?? '').split(' ');
        const [id, password] = scheme === 'Basic' ? Buffer.from(pair, 'base64').toString().split(':')
            .map((part) => new URLSearchParams(`part=${part}`).get('part')) : [];
        const shown = id ? [id, password] : [request.body.client_id, request.body.client_secret];
        const expected = id ? 'mock:basic' : 'mock:post';
        if (shown[0] === expected && shown[1] === secret) return count(expected, 'granted');
        count(expected, 'invalid_client');
        Object.assign(response, { statusCode: 401, body: { error: 'invalid_client' } });
    });
    mock.service.on('beforeTokenSigning', ({ payload }, request) => {
        Object.assign(payload, { client_id: request.body.client_id ?? 'mock:basic', jti: randomBytes(8).toString('hex') });
        payload.aud = request.body.audience;
    });
    await mock.start(0, '127.0.0.1'); // without TLS: a policy may say http:// of loopback
    return { issuer: mock.issuer, token_url: `http://127.0.0.1:${mock.address().port}/token` };
}

// ---- oidc-provider, with clients of every kind

const publicKey = (name, alg) => ({ ...createPublicKey(read(name)).export({ format: 'jwk' }), alg, kid: name, use: 'sig' });

const client = (client_id, token_endpoint_auth_method, more) => ({
    client_id, token_endpoint_auth_method, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], ...more,
});

const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';

function configuration() {
    return {
        clients: [
            client('by basic: +/%', 'client_secret_basic', { client_secret: secret }),
            client('by post', 'client_secret_post', { client_secret: secret }),
            client('by RS256', 'private_key_jwt',
                { jwks: { keys: [publicKey('rsa.key', 'RS256')] }, token_endpoint_auth_signing_alg: 'RS256' }),
            client('by ES256', 'private_key_jwt',
                { jwks: { keys: [publicKey('ec.key', 'ES256')] }, token_endpoint_auth_signing_alg: 'ES256' }),
            client('by certificate', 'tls_client_auth',
                { tls_client_auth_subject_dn: 'CN=by certificate', tls_client_certificate_bound_access_tokens: true }),
            client('by refresh', 'client_secret_basic', {
                client_secret: secret, grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
                redirect_uris: ['https://application.test/'],
            }),
            client('by-assertion', 'client_secret_basic', { client_secret: 'unused', grant_types: [jwtBearer] }),
            client('by exchange', 'client_secret_post', { client_secret: secret, grant_types: [exchange] }),
        ],
        clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth'],
        features: {
            devInteractions: { enabled: false },
            clientCredentials: { enabled: true },
            mTLS: {
                enabled: true, tlsClientAuth: true, certificateBoundAccessTokens: true,
                getCertificate: ({ socket }) => {
                    const raw = socket.getPeerCertificate()?.raw;
                    return raw && `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----`;
                },
                certificateAuthorized: ({ socket }) => socket.authorized,
                certificateSubjectMatches: ({ socket }, property, expected) =>
                    property === 'tls_client_auth_subject_dn' && `CN=${socket.getPeerCertificate().subject.CN}` === expected,
            },
            resourceIndicators: {
                enabled: true,
                getResourceServerInfo: (context, indicator, { clientId }) => {
                    if (indicator !== resource) throw new Error(`the resource ${indicator}`);
                    return {
                        scope: 'read write', audience: resource, accessTokenFormat: 'jwt',
                        accessTokenTTL: clientId === 'by refresh' ? 4 : 600, jwt: { sign: { alg: 'RS256' } },
                    };
                },
            },
        },
        findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
        jwks: { keys: [{ ...createPrivateKey(read('rsa.key')).export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
        rotateRefreshToken: true,
        scopes: ['openid', 'offline_access', 'read', 'write'],
        ttl: { RefreshToken: 3600, Grant: 3600 },
    };
}

// Grants that the provider does not have itself stand on its registry: who asks, what may be asked and what is given
// are its own; the assertion and the subject token are verified by jose.
async function giveToken(provider, context, sub) {
    const info = new provider.ResourceServer(resource,
        { scope: 'read write', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } });
    const token = new provider.AccessToken(
        { accountId: sub, client: context.oidc.client, gty: 'client_credentials', scope: context.oidc.params.scope });
    token.resourceServer = info;
    const access_token = await token.save();
    context.body = { access_token, token_type: 'Bearer', expires_in: token.expiration, scope: token.scope };
    return context.body;
}

function registerGrants(provider, url, mock) {
    provider.registerGrantType(jwtBearer, async (context) => {
        const key = createPublicKey(read('ec.key'));
        const { payload } = await jose.jwtVerify(context.oidc.params.assertion, key, {
            algorithms: ['ES256'], audience: `${url}/assertions`, issuer: 'by assertion', maxTokenAge: '1m',
            requiredClaims: ['exp', 'iat', 'jti', 'tenant'],
        });
        await giveToken(provider, context, payload.sub);
    }, ['assertion', 'scope']);
    provider.registerGrantType(exchange, async (context) => {
        const { params } = context.oidc;
        if (params.subject_token_type !== 'urn:ietf:params:oauth:token-type:jwt') throw new Error('the type of the subject token');
        const keys = jose.createRemoteJWKSet(new URL(`${mock.issuer.url}/jwks`));
        const { payload } = await jose.jwtVerify(params.subject_token, keys, { issuer: mock.issuer.url });
        const body = await giveToken(provider, context, payload.sub);
        body.issued_token_type = 'urn:ietf:params:oauth:token-type:access_token';
    }, ['subject_token', 'subject_token_type', 'audience', 'scope']);
}

async function startProvider(mock) {
    let answer;
    const [, url] = await listen({ ca: read('vendor-ca.crt'), requestCert: true, rejectUnauthorized: false },
        (request, reply) => answer(request, reply));
    const provider = new Provider(url, configuration());
    registerGrants(provider, url, mock);
    provider.on('grant.success', ({ oidc }) => count(oidc.client.clientId, 'granted'));
    provider.on('grant.error', ({ oidc }, error) => {
        count(oidc.client?.clientId ?? oidc.params?.client_id ?? 'unknown', error.error);
        console.error(error.message, error.error_description ?? error, error.error_detail ?? '');
    });
    provider.on('server_error', (context, error) => console.error(error));
    const callback = provider.callback();
    answer = (request, reply) => {
        // The provider wants a client beside the assertion, RFC 7523 does not: a path of its own says which.
        if (request.url === '/assertions') {
            request.url = '/token';
            request.headers.authorization = `Basic ${Buffer.from('by-assertion:unused').toString('base64')}`;
        }
        callback(request, reply);
    };
    return [provider, url];
}

async function firstRefreshToken(provider) {
    const grant = new provider.Grant({ accountId: 'a person', clientId: 'by refresh' });
    grant.addOIDCScope('offline_access');
    grant.addResourceScope(resource, 'read');
    const token = new provider.RefreshToken({
        client: await provider.Client.find('by refresh'), accountId: 'a person', grantId: await grant.save(),
        gty: 'authorization_code', scope: 'offline_access read', resource,
    });
    return token.save();
}

// ---- the vendor

const refused = new Set(); // tokens that it has refused once

async function seen(request, keys) {
    const [scheme, token = ''] = (request.headers.authorization ?? '').split(' ');
    if (scheme !== 'Bearer') return [401, { error: `the scheme ${scheme}` }];
    const { iss } = jose.decodeJwt(token);
    const { payload } = await jose.jwtVerify(token, keys[iss], { issuer: iss, audience: resource, requiredClaims: ['jti'] });
    if (request.url === '/revoked' && refused.size === 0) {
        refused.add(token);
        return [401, { error: 'revoked' }];
    }
    if (refused.has(token)) return [401, { error: 'revoked' }];
    return [200, { claims: payload, headers: request.headers, url: request.url }];
}

async function startVendor(keys) {
    const [, url] = await listen({}, async (request, reply) => {
        if (request.url === '/requests') return reply.end(JSON.stringify(requests));
        const [status, body] = await seen(request, keys).catch((error) => [401, { error: error.message }]);
        if (request.headers.authorization) // for the test to look for it everywhere else
            writeFileSync(`${folder}/tokens`, `${request.headers.authorization.split(' ')[1]}\n`, { flag: 'a' });
        reply.writeHead(status, { 'content-type': 'application/json', 'x-echo': request.headers.authorization ?? '' });
        return reply.end(`${JSON.stringify(body)}\n`);
    });
    return url;
}

const mock = await startMock();
const [provider, url] = await startProvider(mock);
const vendor = await startVendor({
    [mock.issuer.url]: jose.createRemoteJWKSet(new URL(`${mock.issuer.url}/jwks`)),
    [url]: jose.createRemoteJWKSet(new URL(`${url}/jwks`)),
});
writeFileSync(`${folder}/refresh.token`, await firstRefreshToken(provider));
writeFileSync(`${folder}/subject.token`, await mock.issuer.buildToken({
    scopesOrTransform: (header, payload) => { payload.sub = 'a workload'; },
}));
console.log('listening', mock.token_url, `${url}/token`, vendor);
