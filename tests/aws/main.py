"""Makes the stack, tries all beliefs on it, prints the verdict and deletes the stack. tests/aws.sh starts it."""

import signal
import sys
import time
from pathlib import Path

import boto3
import cloudfront
import dynamodb
import edge
import events
import retries
import s3
from beliefs import BROKEN, HELD, NOT_TRIED, Results
from botocore.exceptions import BotoCoreError, ClientError

# What MiniStack does in another way than docs/aws.md says. If one of these holds there one day, that is news, too.
BROKEN_ON_MINISTACK = {
    "multipart-crc32": "it compares the CRC-32 of the whole object with one of the parts' checksums",
    "part-copy-crc32": "it answers the copy of a part without a checksum",
    "etag-under-kms": "it asks for a key where S3 takes the account's own",
    "get-of-an-empty-object": "it answers a range of an empty object with 206",
    "expected-bucket-owner": "it does not compare the owner",
    "eventbridge-names-the-version": "its stack does not turn the bucket's EventBridge events on",
    "invalid-item-refuses-the-batch": "it accepts every item",
    "tilde-is-refused": "it accepts every item",
    "retries-keep-the-request-id": "each attempt has an id of its own",
    "retries-after-one-and-two-minutes": "it retries after one and two seconds",
    "failure-queue-keeps-the-event": "it serves the destination or the queue, not both",
}


class Aws:
    """The account, and the resources of the stack in it."""

    def __init__(self, is_real):
        self.is_real = is_real
        self.stack = f"dropship-beliefs-{int(time.time())}"
        for service in ("cloudformation", "cloudfront", "dynamodb", "s3", "sqs"):
            setattr(self, service, boto3.client(service))
        self.functions = boto3.client("lambda")
        self.account = boto3.client("sts").get_caller_identity()["Account"]

    def create(self):
        template = (Path(__file__).parent / "stack.yaml").read_text()
        self.cloudformation.create_stack(
            StackName=self.stack, TemplateBody=template, Capabilities=["CAPABILITY_IAM"]
        )
        self.cloudformation.get_waiter("stack_create_complete").wait(StackName=self.stack)
        [stack] = self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.live, self.staging, self.ledger = (self.outputs[name] for name in ("Live", "Staging", "Ledger"))
        self.distribution = self.outputs["Distribution"]

    def receive(self, queue):
        """Returns the bodies of messages in a queue; the queue does not show them again."""
        answer = self.sqs.receive_message(QueueUrl=self.outputs[queue], MaxNumberOfMessages=10, WaitTimeSeconds=1)
        return [message["Body"] for message in answer.get("Messages", [])]

    def delete(self):
        print(f"\nDeleting the stack {self.stack}", flush=True)
        try:
            for bucket in self.buckets():
                boto3.resource("s3").Bucket(bucket).object_versions.delete()
            self.cloudformation.delete_stack(StackName=self.stack)
            self.cloudformation.get_waiter("stack_delete_complete").wait(StackName=self.stack)
        except (BotoCoreError, ClientError) as error:
            sys.exit(f"The stack {self.stack} remains; empty its buckets and delete it by hand: {error}")

    def buckets(self):
        """Returns the buckets that the stack has, also if its creation has failed."""
        resources = self.cloudformation.describe_stack_resources(StackName=self.stack)["StackResources"]
        names = [it.get("PhysicalResourceId") for it in resources if it["ResourceType"] == "AWS::S3::Bucket"]
        return [name for name in names if name]


def main():
    aws = Aws(is_real=sys.argv[1] == "aws")
    where = "AWS" if aws.is_real else "MiniStack"
    print(f"Trying docs/aws.md on {where}, account {aws.account}, with the stack {aws.stack}\n", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results()
    try:
        aws.create()
        # The retries take three minutes, in which the other beliefs are tried.
        retries.invoke(aws)
        for service in (s3, events, dynamodb, cloudfront):
            service.try_all(results, aws)
        edge.try_all(results, aws)
        retries.try_all(results, aws)
    finally:
        # A second Ctrl-C does not stop the deletion.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        aws.delete()

    print("\n" + ", ".join(f"{len(results.those(result))} {result}" for result in (HELD, BROKEN, NOT_TRIED)))
    broken = set(results.those(BROKEN))
    if aws.is_real:
        sys.exit(bool(broken))
    expected = set(BROKEN_ON_MINISTACK)
    if broken != expected:
        news, gone = sorted(broken - expected), sorted(expected - broken)
        sys.exit(f"MiniStack differs from BROKEN_ON_MINISTACK: it also breaks {news}, and it does not break {gone}")
    print("MiniStack breaks exactly those of BROKEN_ON_MINISTACK.")


main()
