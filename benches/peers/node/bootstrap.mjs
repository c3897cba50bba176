// A loop on the Lambda Runtime API that loads a handler module, as the managed Node runtime does.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const call = (method, path, body) =>
  new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const request = http.request({ host, port, agent, method, path: `/2018-06-01/runtime/${path}`, headers }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString('utf8') }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });

const { handler } = await import(pathToFileURL(process.argv[2]).href);
for (;;) {
  const { headers, body } = await call('GET', 'invocation/next');
  const requestId = headers['lambda-runtime-aws-request-id'];
  try {
    const answer = await handler(JSON.parse(body), { awsRequestId: requestId });
    await call('POST', `invocation/${requestId}/response`, JSON.stringify(answer));
  } catch (error) {
    const description = { errorType: error.name, errorMessage: error.message, stackTrace: String(error.stack).split('\n') };
    await call('POST', `invocation/${requestId}/error`, JSON.stringify(description));
  }
}
