// Stripe's SDK takes a host and an agent, but no path: it goes through CONNECT.
import assert from 'node:assert';
import { HttpsProxyAgent } from 'https-proxy-agent';
import Stripe from 'stripe';

const stripe = new Stripe('sk_test_of-the-application', {
    host: 'stripe.vendor.test',
    httpAgent: new HttpsProxyAgent(process.env.HTTPS_PROXY, { keepAlive: true }),
    maxNetworkRetries: 0,
    telemetry: false,
});
for (const email of ['one@customer.test', 'two@customer.test']) {
    const customer = await stripe.customers.create({ email });
    assert.strictEqual(customer.email, email);
    assert.match(customer.lastResponse.headers['sluice-request-id'], /^[0-9a-f]{32}$/);
}
