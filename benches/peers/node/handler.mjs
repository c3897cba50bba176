// DynamoDB Streams → OpenSearch as a good Node team writes it: one `_bulk` request per batch, a client that outlives
// the invocation, a short answer through filter_path, and partial batch responses.
import { Client } from '@opensearch-project/opensearch';
import { unmarshall } from '@aws-sdk/util-dynamodb';

const client = new Client({ node: process.env.OPENSEARCH_URL });
const index = process.env.OPENSEARCH_INDEX;

// `unmarshall` turns DynamoDB sets into Set objects, which JSON.stringify would write as `{}`.
const plain = (_name, value) => (value instanceof Set ? [...value] : value);

const isFailure = (item) => {
  const { status } = item.index ?? item.delete;
  return status >= 300 && !(item.delete && status === 404);
};

export const handler = async (event) => {
  const lines = [];
  for (const record of event.Records) {
    const { Keys, NewImage } = record.dynamodb;
    const _id = unmarshall(Keys).pk;
    if (record.eventName === 'REMOVE') {
      lines.push(JSON.stringify({ delete: { _index: index, _id } }));
    } else {
      lines.push(JSON.stringify({ index: { _index: index, _id } }));
      lines.push(JSON.stringify(unmarshall(NewImage), plain));
    }
  }
  const { body } = await client.bulk({
    body: lines.join('\n') + '\n',
    filter_path: 'errors,items.*.status,items.*.error',
  });
  if (!body.errors) return { batchItemFailures: [] };
  const first = body.items.findIndex(isFailure);
  if (first === -1) return { batchItemFailures: [] };
  return { batchItemFailures: [{ itemIdentifier: event.Records[first].dynamodb.SequenceNumber }] };
};
