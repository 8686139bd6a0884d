"""Walks through the command line on a deployed stack: push, plan, push, history, rollback, a refused one, redrive,
doctor.

MiniStack puts a record around a failed event, and does not give the reason beside it, as Lambda does. So the events with
a reason come to the queue by hand, as Lambda words them.
"""

import json
import os
import subprocess
import zipfile

from stack import agree

NO_EVENT = "no event has failed\n"


def story(stack, work, first, second):
    """Pushes two folders to a stack on which other builds may be live."""

    def dropship(*arguments, code=0):
        return say(stack, *arguments, code=code)

    pushed = json.loads(dropship("push", first, "--message", "The first", "--json"))
    agree("outcome", pushed["outcome"] in ("deployed", "unchanged"), True)
    stack.judge.check_bucket(files(first))
    agree("the same push again", json.loads(dropship("push", first, "--json"))["uploaded"], False)

    planned = dropship("plan", second, "--exit-code", code=1)
    page = f"~ {stack.judge.prefix}index.html"
    agree("whether the plan names the page that changes", page in planned, True)
    stack.judge.check_bucket(files(first))

    dropship("push", second, "--message", "The second")
    stack.judge.check_bucket(files(second))
    runs = json.loads(dropship("history", "--json"))
    agree("the latest runs", [run["source"]["message"] for run in runs[:2]], ["The second", "The first"])
    agree("what is live", [run["isLive"] for run in runs[:2]], [True, False])

    dropship("rollback", "previous", "--yes")
    stack.judge.check_bucket(files(first))
    agree("who asked", json.loads(dropship("history", "-n", "1", "--json"))[0]["asked_by"], "person")

    broken = work / "out.zip"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("../index.html", "out")
    refusal = dropship("push", broken, code=1)
    agree("whether the refusal names the entry", "`../index.html`" in refusal, True)
    stack.judge.check_bucket(files(first))


def redrive(stack, event):
    """Redrives the event of the live build, and a rollback, which only a person may repeat."""
    agree("an empty queue", say(stack, "redrive"), NO_EVENT)
    fail(stack, event, "CloudFront has not accepted 1 invalidation batches yet")
    fail(stack, {"rollback": "previous"}, "another deployment holds the site")

    listed = json.loads(say(stack, "redrive", "--json"))
    reasons = ["CloudFront has not accepted 1 invalidation batches yet", "another deployment holds the site"]
    agree("what has failed", [one["what"] for one in listed], ["uploads/site.zip", "a rollback"])
    agree("why it has failed", [one["reason"] for one in listed], reasons)

    done = [one["done"] for one in json.loads(say(stack, "redrive", "--send", "1", "2", "--json"))]
    agree("what is sent", done[0], "sent again")
    agree("whether the rollback is printed", done[1].endswith('by hand: {"rollback": "previous"}'), True)
    agree("outcome of the first", stack.next_line()["outcome"], "unchanged")

    [rollback] = json.loads(say(stack, "redrive", "--delete", "1", "--json"))
    agree("what is deleted", (rollback["what"], rollback["done"]), ("a rollback", "deleted"))
    agree("the queue", say(stack, "redrive"), NO_EVENT)


def doctor(stack):
    """A stack as the template makes it has no fault.

    MiniStack's CloudFormation makes no lifecycle rules, so the doctor misses both. Its alarms may be on after the errors
    that other steps make on purpose, so they are not looked at.
    """
    agree("findings", findings(stack), [("advice", "no lifecycle rule"), ("advice", "the archives of")])

    policy = stack.s3.get_bucket_policy(Bucket=stack["LiveBucketName"])["Policy"]
    stack.s3.delete_bucket_policy(Bucket=stack["LiveBucketName"])
    found = findings(stack)
    stack.s3.put_bucket_policy(Bucket=stack["LiveBucketName"], Policy=policy)
    agree("the worst finding", found[0], ("problem", "the policy of"))


def findings(stack):
    """Returns the doctor's findings, except those about alarms: how bad they are, and their first three words."""
    found = json.loads(say(stack, "doctor", "--json", code=None))["findings"]
    found = [one for one in found if one["subject"] != "alarms"]
    return [(one["severity"], " ".join(one["problem"].split()[:3])) for one in found]


def fail(stack, event, reason):
    """Puts an event into the failure queue (Lambda developer guide, "Dead-letter queues", "Message attributes")."""
    attributes = {"ErrorCode": "200", "ErrorMessage": reason, "RequestID": "e4b46cbf-b738-xmpl-8880-a18cdf61200e"}
    types = {"ErrorCode": "Number", "ErrorMessage": "String", "RequestID": "String"}
    stack.sqs.send_message(
        QueueUrl=stack["FailedEventsUrl"],
        MessageBody=json.dumps(event),
        MessageAttributes={
            name: {"DataType": types[name], "StringValue": value} for name, value in attributes.items()
        },
    )


def say(stack, *arguments, code=0):
    """Runs the command line as a user would, and returns what it printed."""
    command = ["dropship", *map(str, arguments)]
    print("$", *command, flush=True)
    environment = {**os.environ, "DROPSHIP_STACK": stack["FunctionName"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr if code else done.stdout
    if code is not None:
        agree(f"exit code of {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}", done.returncode, code)
    return said


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
