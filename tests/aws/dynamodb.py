"""Beliefs about DynamoDB."""

from concurrent.futures import ThreadPoolExecutor

from beliefs import agree, refused
from botocore.exceptions import ClientError


def try_all(results, aws):
    results.try_all(
        [
            transaction_is_atomic,
            transaction_has_one_winner,
            transaction_of_3_mib,
            consistent_read,
            update_of_a_missing_item,
            query_order,
        ],
        aws,
    )


def key(name):
    return {"site": {"S": "site"}, "item": {"S": name}}


def put(aws, name, **attributes):
    return {"Put": {"TableName": aws.ledger, "Item": {**key(name), **attributes}}}


def get(aws, name):
    return aws.dynamodb.get_item(TableName=aws.ledger, Key=key(name), ConsistentRead=True).get("Item")


def write_head(aws, old, new, *others):
    """Writes the head and other items in one transaction, on the condition that the head has the version `old`."""
    head = put(aws, "head", version={"N": str(new)})
    head["Put"]["ConditionExpression"] = "version = :old" if old else "attribute_not_exists(version)"
    if old:
        head["Put"]["ExpressionAttributeValues"] = {":old": {"N": str(old)}}
    aws.dynamodb.transact_write_items(TransactItems=[head, *(put(aws, other) for other in others)])


def transaction_is_atomic(aws):
    write_head(aws, 0, 1, "first")
    agree("an item of the accepted transaction", get(aws, "first"), key("first"))
    with refused("TransactionCanceledException"):
        write_head(aws, 7, 8, "second")
    agree("version", get(aws, "head")["version"], {"N": "1"})
    agree("an item of the refused transaction", get(aws, "second"), None)


def transaction_has_one_winner(aws):
    old = int(get(aws, "head")["version"]["N"])

    def race(number):
        try:
            write_head(aws, old, 100 + number, f"race-{number}")
            return number
        except ClientError as error:
            agree("error code", error.response["Error"]["Code"], "TransactionCanceledException")

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number in threads.map(race, range(8)) if number is not None]
    agree("how many transactions were accepted", len(winners), 1)
    agree("version", get(aws, "head")["version"], {"N": str(100 + winners[0])})
    agree("items", [number for number in range(8) if get(aws, f"race-{number}")], winners)


def transaction_of_3_mib(aws):
    large = [put(aws, f"large-{number}", items={"S": "x" * (32 << 10)}) for number in range(100)]
    aws.dynamodb.transact_write_items(TransactItems=large)


def consistent_read(aws):
    for number in map(str, range(10)):
        aws.dynamodb.put_item(TableName=aws.ledger, Item={**key("read"), "number": {"N": number}})
        agree("number", get(aws, "read")["number"], {"N": number})


def update_of_a_missing_item(aws):
    with refused("ConditionalCheckFailedException"):
        aws.dynamodb.update_item(
            TableName=aws.ledger,
            Key=key("missing"),
            UpdateExpression="SET offered = :offered",
            ConditionExpression="attribute_exists(#item)",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":offered": {"BOOL": True}},
        )
    agree("the item", get(aws, "missing"), None)


def query_order(aws):
    names = ["order#20261122T101459Z-c", "order#20261122T101500Z-a", "order#20261122T101500Z-b", "order#é"]
    for name in (*names, "orders"):
        aws.dynamodb.put_item(TableName=aws.ledger, Item=key(name))
    answer = aws.dynamodb.query(
        TableName=aws.ledger,
        ConsistentRead=True,
        ScanIndexForward=False,
        KeyConditionExpression="site = :site AND begins_with(#item, :prefix)",
        ExpressionAttributeNames={"#item": "item"},
        ExpressionAttributeValues={":site": {"S": "site"}, ":prefix": {"S": "order#"}},
    )
    agree("items, newest first", [item["item"]["S"] for item in answer["Items"]], names[::-1])
