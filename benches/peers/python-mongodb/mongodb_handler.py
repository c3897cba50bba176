"""DynamoDB Streams → MongoDB as a good Python team writes it.

One unordered `bulk_write` per batch, the last change of a key standing for the earlier ones, a client that outlives the
invocation, and partial batch responses. Powertools' data classes deserialize the images.
"""

import os
from decimal import Decimal

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecordEventName
from pymongo import DeleteOne, MongoClient, ReplaceOne
from pymongo.errors import BulkWriteError

collection = MongoClient(os.environ["MONGODB_URL"]).get_default_database()[os.environ["MONGODB_COLLECTION"]]


def plain(value: object) -> object:
    """What BSON cannot hold as it is: DynamoDB's numbers and sets."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, (list, set)):
        return [plain(member) for member in value]
    return value


def handler(event: dict, _context: object) -> dict:
    latest = {}
    for record in DynamoDBStreamEvent(event).records:
        latest[record.dynamodb.keys["pk"]] = record
    operations = []
    for key, record in latest.items():
        if record.event_name == DynamoDBRecordEventName.REMOVE:
            operations.append(DeleteOne({"_id": key}))
        else:
            operations.append(ReplaceOne({"_id": key}, plain(record.dynamodb.new_image), upsert=True))
    try:
        collection.bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        records = list(latest.values())
        numbers = [records[failure["index"]].dynamodb.sequence_number for failure in error.details["writeErrors"]]
        return {"batchItemFailures": [{"itemIdentifier": min(numbers, key=int)}]}
    return {"batchItemFailures": []}
