"""Runs the recipes of the runbook as an operator pastes them, and checks what they do."""

import zipfile

import readme
from botocore.exceptions import ClientError
from stack import REPOSITORY, Wrong, agree

RUNBOOK = "docs/runbook.md"


def of(heading, *numbers, **variables):
    """Runs blocks under a heading, after the function that the runbook begins with; returns what they print."""
    blocks = [readme.block(RUNBOOK, heading, number) for number in numbers or (1,)]
    lines = "".join([readme.block(RUNBOOK, "# Runbook"), *blocks])
    # Version 1 of the AWS CLI, the one on PyPI, ignores AWS_ENDPOINT_URL for SQS.
    lines = lines.replace("aws sqs", 'aws --endpoint-url "$AWS_ENDPOINT_URL" sqs')
    before = set(REPOSITORY.iterdir())
    printed = readme.bash(lines, env="local", **variables)
    agree("files that the commands leave", set(REPOSITORY.iterdir()) - before, set())
    return printed


def history(ids):
    listed = of("## History")
    for deployment in ids:
        agree(f"whether {deployment} is listed", deployment in listed, True)
    logged = of("## History", 2)
    agree("whether the log has a plain line about the last one", f"{ids[-1]} (uploads/site.zip, run " in logged, True)


def allow_large_delete(stack, archive, work):
    """Deploys a page in place of a whole site, which takes the option, and goes back to `archive`."""
    page = work / "page.zip"
    with zipfile.ZipFile(page, "w") as opened:
        opened.writestr("other.html", "not the site")
    refused = [stack.upload(page, "site.zip"), stack.next_line(), stack.next_line()]
    agree("errors of the three attempts", {line["errorType"] for line in refused}, {"LargeDelete"})
    of("### Allow a large delete")
    agree("outcome", stack.next_line()["outcome"], "deployed")
    agree("outcome of the way back", stack.upload(archive, "site.zip")["outcome"], "deployed")


def redrive_nothing():
    printed = of("## Redrive")
    agree("whether an empty queue is told", "The failure queue is empty" in printed, True)
    agree("whether anything was sent", "Invoking Lambda Function" in printed, False)


def redrive():
    of("## Redrive")


def delete_stack():
    """Deletes the stack; returns the names that the commands keep for what remains."""
    lines = readme.block(RUNBOOK, "# Runbook") + readme.block(RUNBOOK, "## Uninstall")
    # SAM asks before it deletes.
    lines = lines.replace("sam delete", "sam delete --no-prompts")
    names = readme.bash(lines + 'echo "$table $staging $live"', env="local")
    return dict(zip(("table", "staging", "live"), names.strip().splitlines()[-1].split(), strict=True))


def delete_what_remains(stack, names):
    of("## Uninstall", 2, 3, **names)
    for bucket in (names["staging"], names["live"]):
        gone(lambda: stack.s3.head_bucket(Bucket=bucket), bucket)
    gone(lambda: stack.dynamodb.describe_table(TableName=names["table"]), names["table"])


def gone(look, name):
    try:
        look()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket", "ResourceNotFoundException"):
            return
        raise
    raise Wrong(f"{name} still exists")
