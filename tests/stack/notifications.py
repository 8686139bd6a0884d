"""Deploys a stack that tells people about results and lets GitHub push, and checks both.

MiniStack's Lambda sends no results to EventBridge, so the rules get them by hand, as Lambda words them.
"""

import json

import boto3
from policies import check_push_role, check_topic
from stack import Stack, agree, run, wait_for

NAME = "dropship-told"
CONTEXT = {"condition": "RetriesExhausted", "approximateInvokeCount": 3}


def check(work):
    sns, sqs, kms = boto3.client("sns"), boto3.client("sqs"), boto3.client("kms")
    told = sqs.create_queue(QueueName="told")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=told, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account = queue.split(":")[4]
    publish = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue}
    policy = {"Version": "2012-10-17", "Statement": [publish]}
    sqs.set_queue_attributes(QueueUrl=told, Attributes={"Policy": json.dumps(policy)})
    topic = sns.create_topic(Name="site")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    provider = f"arn:aws:iam::{account}:oidc-provider/token.actions.githubusercontent.com"
    run("sam", "deploy", "--stack-name", NAME, "--region", sns.meta.region_name, "--resolve-s3", "--capabilities",
        "CAPABILITY_IAM", "--parameter-overrides", "CreateSite=true", "NotifyEmail=web@example.com",
        f"NotifyTopicArn={topic}", "GitHubRepository=example/site", f"OidcProviderArn={provider}")
    stack = Stack(NAME)

    role = stack["PushRoleArn"].rsplit("/", 1)[-1]
    trust = stack.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    [name] = stack.iam.list_role_policies(RoleName=role)["PolicyNames"]
    rights = stack.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    check_push_role(trust, rights, provider, "repo:example/site:ref:refs/heads/main", stack)

    [own] = [one["TopicArn"] for one in sns.list_topics()["Topics"] if NAME in one["TopicArn"]]
    policy = json.loads(sns.get_topic_attributes(TopicArn=own)["Attributes"]["Policy"])
    # MiniStack does not tell the key of a topic.
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    [key] = [key["KeyId"] for key in keys if key["Description"].startswith(f"{NAME}: ")]
    check_topic(own, policy, json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]))

    answer = stack.send({"sweep": True})
    send(stack, "Success", {"responsePayload": answer})
    agree("whether an ordinary sweep is news", answer["isNews"], False)
    answer["isNews"] = True
    send(stack, "Success", {"responsePayload": answer})
    error = {"errorType": "Busy", "errorMessage": "wait"}
    send(stack, "Failure", {"responsePayload": error})
    texts = []

    def look():
        received = sqs.receive_message(QueueUrl=told, MaxNumberOfMessages=10).get("Messages", [])
        texts.extend(message["Body"] for message in received)
        return len(texts) >= 2 or None

    wait_for("the texts of a deployment and a failure", look)
    success, failure = sorted(texts, key=lambda text: "FAILED" in text)
    agree("text of a deployment", success, f'"{NAME}: {answer["text"]}"')
    agree("lines of a failure", failure.splitlines()[1], '"Busy: wait"')
    run("sam", "delete", "--stack-name", NAME, "--region", sns.meta.region_name, "--no-prompts")


def send(stack, kind, detail):
    arn = stack.function.get_function_configuration(FunctionName=NAME)["FunctionArn"]
    context = {**CONTEXT, "functionArn": f"{arn}:$LATEST"}
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {kind}",
        "Detail": json.dumps({"requestContext": context, **detail}),
    }
    agree("events that failed", boto3.client("events").put_events(Entries=[entry])["FailedEntryCount"], 0)
