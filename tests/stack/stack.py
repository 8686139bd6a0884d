"""A deployed stack as its owner sees it: through `sam`, `aws`, its buckets, its ledger and its log."""

import json
import subprocess
import sys
import time
from pathlib import Path

import boto3

sys.path.insert(0, str(Path(__file__).parent.parent / "ministack"))
from judge import Judge, Wrong, agree

REPOSITORY = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 120
TEST_EVENT = json.loads((REPOSITORY / "events/test-event.json").read_text())


def run(*command, fails=False):
    """Runs a command as a user would and shows it; returns what it printed."""
    print("$", " ".join(str(part) for part in command), flush=True)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if (done.returncode != 0) != fails:
        raise Wrong(f"it exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout + (done.stderr if fails else "")


def wait_for(what, look):
    """Calls `look` until it returns something."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.1)
    raise Wrong(f"{what} did not come within {PATIENCE_SECONDS} s")


class Stack:
    """One stack, as CloudFormation describes it."""

    def __init__(self, name):
        self.name = name
        self.cloudformation = boto3.client("cloudformation")
        self.s3 = boto3.client("s3")
        self.function = boto3.client("lambda")
        self.iam = boto3.client("iam")
        self.sqs = boto3.client("sqs")
        self.logs = boto3.client("logs")
        self.dynamodb = boto3.client("dynamodb")
        self.cloudwatch = boto3.client("cloudwatch")
        described = self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        agree("state of the stack", described["StackStatus"], "CREATE_COMPLETE")
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        self.variables = self.function.get_function_configuration(FunctionName=self["FunctionName"])[
            "Environment"
        ]["Variables"]
        prefix = self.variables["LIVE_PREFIX"]
        self.judge = Judge(
            None,
            live=self["LiveBucketName"],
            prefix=prefix + "/" if prefix else "",
            table=self["LedgerName"],
            site=self.variables["SITE"],
            foreign={},
        )
        self.lines_read = 0

    def __getitem__(self, output):
        return self.outputs[output]

    def all_lines(self):
        """Returns the lines of JSON in the function's log, one for each deployment."""
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self["LogGroupName"])
        messages = [event["message"] for page in pages for event in page["events"]]
        return [json.loads(message) for message in messages if message.startswith("{")]

    def lines(self):
        """Returns these lines in the order of their times, without those of ignored events."""
        lines = [line for line in self.all_lines() if line["outcome"] != "ignored"]
        return sorted(lines, key=lambda line: line["_aws"]["Timestamp"])

    def next_line(self):
        """Waits for the function's log line about the next deployment."""

        nudged = time.monotonic()

        def look():
            nonlocal nudged
            # MiniStack sometimes holds back the last line of an invocation until the next invocation.
            if time.monotonic() - nudged > 5:
                self.send(TEST_EVENT)
                nudged = time.monotonic()
            lines = self.lines()
            return lines[self.lines_read] if len(lines) > self.lines_read else None

        line = wait_for("the function's line in the log", look)
        self.lines_read += 1
        return line

    def upload(self, archive, name):
        """Uploads an archive as CI does, which starts the function; returns the function's log line."""
        run("aws", "s3", "cp", "--only-show-errors", archive, self["UploadUrl"] + name)
        return self.next_line()

    def invoke(self, event):
        """Invokes the function and waits; returns the answer, or the error with its `errorType`."""
        answer = self.send(event)
        self.next_line()
        return answer

    def send(self, event):
        answer = self.function.invoke(FunctionName=self["FunctionName"], Payload=json.dumps(event))
        return json.load(answer["Payload"])

    def policy(self):
        """Returns the name of the function's role, and the name and document of its only policy."""
        role = self["FunctionRoleArn"].rsplit("/", 1)[-1]
        [name] = self.iam.list_role_policies(RoleName=role)["PolicyNames"]
        document = self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        return role, name, document
