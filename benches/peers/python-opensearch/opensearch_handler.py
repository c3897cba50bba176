"""DynamoDB Streams → OpenSearch as a good Python team writes it.

One `_bulk` request per batch, a client that outlives the invocation, a short answer through filter_path, and partial
batch responses. Powertools' data classes deserialize the images.
"""

import json
import os
from decimal import Decimal

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecordEventName
from opensearchpy import OpenSearch

INDEX = os.environ["OPENSEARCH_INDEX"]
client = OpenSearch(os.environ["OPENSEARCH_URL"], max_retries=2, retry_on_timeout=True)


def plain(value: object) -> object:
    """What `json` cannot write by itself: DynamoDB's numbers and sets."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# Made once: json.dumps with arguments would make an encoder per call.
encode = json.JSONEncoder(default=plain, ensure_ascii=False, separators=(",", ":")).encode


def is_failure(item: dict) -> bool:
    (operation, result), = item.items()
    return result["status"] >= 300 and not (operation == "delete" and result["status"] == 404)


def handler(event: dict, _context: object) -> dict:
    records = list(DynamoDBStreamEvent(event).records)
    lines = []
    for record in records:
        change = record.dynamodb
        action = {"_index": INDEX, "_id": change.keys["pk"]}
        if record.event_name == DynamoDBRecordEventName.REMOVE:
            lines.append(encode({"delete": action}))
        else:
            lines.append(encode({"index": action}))
            lines.append(encode(change.new_image))
    lines.append("")
    answer = client.bulk(
        body="\n".join(lines), params={"filter_path": "errors,items.*.status,items.*.error"}
    )
    if answer["errors"]:
        for record, item in zip(records, answer["items"], strict=True):
            if is_failure(item):
                return {"batchItemFailures": [{"itemIdentifier": record.dynamodb.sequence_number}]}
    return {"batchItemFailures": []}
