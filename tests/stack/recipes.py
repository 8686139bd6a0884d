"""Runs the recipes of the runbook as an operator pastes them, and checks what they do."""

import zipfile
from pathlib import Path

import readme
from botocore.exceptions import ClientError
from judge import entries
from stack import REPOSITORY, Wrong, agree

RUNBOOK = "docs/runbook.md"


def of(heading, *numbers, **variables):
    """Runs blocks under a heading, after those that the runbook begins with; returns what they print."""
    blocks = [readme.block(RUNBOOK, heading, number) for number in numbers or (1,)]
    before = set(REPOSITORY.iterdir())
    printed = readme.bash("".join([beginning(), *blocks]), env="local", **variables)
    agree("files that the commands leave", set(REPOSITORY.iterdir()) - before, set())
    return printed


def beginning():
    """Returns the blocks that the runbook begins with, without the line that installs what tests/stack.sh has built."""
    install, _, names_stack = readme.block(RUNBOOK, "## The command line").partition("\n")
    agree("the command that installs", install.split()[:2], ["cargo", "install"])
    return names_stack + readme.block(RUNBOOK, "## The command line", 2)


def sweep(stack):
    readme.bash(readme.block("events/README.md", "## Send an event"), env="local")
    agree("outcome of a sweep", stack.next_line()["outcome"], "swept")


def allow_large_delete(stack, archive, work):
    """Deploys a page in place of a whole site, which takes the option, and goes back to `archive`."""
    page = work / "page.zip"
    with zipfile.ZipFile(page, "w") as opened:
        opened.writestr("other.html", "not the site")
    refused = [stack.upload(page, "site.zip"), stack.next_line(), stack.next_line()]
    agree("errors of the three attempts", {line["errorType"] for line in refused}, {"LargeDelete"})
    of("### Allow a large delete")
    Path("/tmp/site.zip").unlink()
    stack.judge.check_bucket(entries(page))
    # S3's event of this push is refused until the other one is done.
    outcomes = [stack.next_line()["outcome"]]
    while outcomes[-1] != "unchanged":
        outcomes.append(stack.next_line()["outcome"])
    agree("outcomes", (outcomes[0], outcomes.count("deployed")), ("failed", 1))
    agree("outcome of the way back", stack.upload(archive, "site.zip")["outcome"], "deployed")


def delete_stack():
    """Deletes the stack; returns the names that the commands keep for what remains."""
    lines = beginning() + readme.block(RUNBOOK, "## Uninstall")
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
