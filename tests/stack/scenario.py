"""Takes a stack from `sam deploy` to `sam delete` and checks the result of every step.

tests/stack.sh starts it and sets the environment that points at MiniStack.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import boto3
import command_line
import dashboard
import notifications
import policy
import previews
import readme
import recipes
from judge import entries
from stack import REPOSITORY, TEST_EVENT, Stack, Wrong, agree, run, wait_for

WORK = Path(sys.argv[1])
SAMPLES = REPOSITORY / "examples/site"
ENVIRONMENT = ("--config-env", "local")
REGION = os.environ["AWS_DEFAULT_REGION"]
NOT_SEEN = """
Deployed but not tested, because MiniStack does not support it: results that Lambda sends to EventBridge (the rules get
them by hand), mail, GitHub's tokens, the daily schedule, alarms that fire, alarms on metric math, traces, the staging
bucket's lifecycle, and CloudFront's cache."""


def main():
    first, second = sites()
    refuse_a_misspelt_environment()
    refuse_placeholders()

    step("The commands of the README, on a new site")
    url = readme.walk()
    newcomer = Stack("dropship-dev")
    agree("the last line that they print", url, newcomer["SiteUrl"])
    agree("outcome", newcomer.next_line()["outcome"], "deployed")
    newcomer.judge.check_bucket(files(SAMPLES / "first"))
    index_pages(newcomer)

    step("The role has the rights that it needs, and no others")
    policy.remove_each_statement(newcomer, WORK)
    run("sam", "delete", "--config-env", "dev", "--no-prompts", "--region", REGION)

    refuse_two_ways_in()

    step("A stack for a real site")
    run("sam", "deploy", *ENVIRONMENT)
    stack = Stack("dropship-local")
    keep_failed_events(stack)
    life(stack, first, second)

    step("A file that is no zip ends in the failure queue")
    failing_archive(stack)

    step("Uploads of a stopped function end in the failure queue, and are redriven")
    stopped_function(stack, first, second)

    step("Results are told, and GitHub may push")
    notifications.check(WORK)

    step("A preview, from the push to its URL, to the promotion and to the removal")
    previews.story(SAMPLES)

    step("The dashboard")
    dashboard.draw(stack, WORK / "dashboard.png")

    step("The other combinations of parameters")
    for name, parameters in ways_in().items():
        other_way_in(name, parameters)

    step("Deleting the stack, as the runbook does")
    names = recipes.delete_stack()
    agree("stacks", stacks(stack), [])
    stack.judge.check_bucket(entries(second))
    print("The buckets and the ledger remain, as the template says.")
    recipes.delete_what_remains(stack, names)
    print(NOT_SEEN)


def life(stack, first, second):
    """Deploys two versions, and goes back and forth between them."""
    distribution = stack["DistributionId"]

    step("The first version, started by the event of its upload")
    line = stack.upload(first, "site.zip")
    agree("outcome", line["outcome"], "deployed")
    ids = [line["id"]]
    seen = stack.judge.check(None, first, distribution, ids[0], ids, [])
    see_pages(stack, entries(first))

    step("The doctor, before anything has failed")
    command_line.doctor(stack)

    step("The second version, under the same name")
    line = stack.upload(second, "site.zip")
    agree("outcome", line["outcome"], "deployed")
    ids.append(line["id"])
    seen += stack.judge.check(first, second, distribution, ids[1], ids, seen)
    see_pages(stack, entries(second))

    step("Back to the first, with the event from the ledger")
    event = saved_event(stack, ids[0])
    agree("options of the event in the ledger", event["options"], {"replay": True})
    line = replay(stack, event)
    agree("outcome", line["outcome"], "rolledBack")
    seen += stack.judge.check(second, first, distribution, ids[0], ids, seen)

    step("Every other kind of event")
    dry_run = {**saved_event(stack, ids[1]), "options": {"dryRun": True, "replay": True}}
    agree("outcome of a dry run", replay(stack, dry_run)["outcome"], "planned")
    agree("outcome of S3's test event", stack.send(TEST_EVENT)["deployments"][0]["outcome"], "ignored")
    recipes.sweep(stack)
    agree("outcome of the live event", replay(stack, event)["outcome"], "unchanged")
    delivery = {**saved_event(stack, ids[1]), "options": {}}
    agree("outcome of the other event", replay(stack, delivery)["outcome"], "duplicate")
    line = replay(stack, {"rollback": ids[1]})
    agree("outcome of the way back", line["outcome"], "rolledBack")
    seen += stack.judge.check(first, second, distribution, ids[1], ids, seen)

    step("The history, and the runbook's command that shows who holds the lease")
    listed = command_line.say(stack, "history")
    for deployment in ids:
        agree(f"whether {deployment} is listed", deployment in listed, True)
    agree("holder of the site", recipes.of("## A stuck deployment").strip(), "null")

    step("The runbook's command for a large delete that is meant")
    recipes.allow_large_delete(stack, second, WORK)
    failed_event(stack)
    command_line.say(stack, "redrive", "--delete", "1")


def step(title):
    print(f"\n--- {title}", flush=True)


def sites():
    """Returns two releases of a real site or, where these are missing, the two versions of the sample site."""
    shared = Path(os.environ.get("DROPSHIP_SHARED", REPOSITORY / "../shared")) / "sites"
    real = [shared / f"streamlit-1.48.{patch}.zip" for patch in (0, 1)]
    if all(site.exists() for site in real):
        return real
    return [zipped("first"), zipped("second")]


def refuse_a_misspelt_environment():
    step("A misspelt environment is refused before anything changes")
    refusal = run("sam", "deploy", "--config-env", "prd", fails=True)
    if "--stack-name" not in refusal:
        raise Wrong(f"refused, but not because the stack name is missing: {refusal}")
    run("bash", "-c", 'env=prd; grep -q "^\\[$env\\.deploy" samconfig.toml', fails=True)


def refuse_placeholders():
    step("An environment that still has the placeholders is refused")
    for environment in ("staging", "prod"):
        refusal = run("sam", "deploy", "--config-env", environment, "--region", REGION, fails=True)
        agree("whether it says what to replace", "placeholder CHANGE-ME" in refusal, True)


def refuse_two_ways_in():
    step("Parameters that contradict each other are refused")
    deploy = ("sam", "deploy", "--stack-name", "dropship-wrong", "--region", REGION, "--resolve-s3",
              "--capabilities", "CAPABILITY_IAM", "--parameter-overrides")
    for named, parameters in (
        ("LiveBucketName", ["CreateSite=true", "LiveBucketName=example-live"]),
        ("LiveBucketName", ["Site=docs"]),
        ("CacheTags", ["LiveBucketName=example-live", "CacheTags=true"]),
        ("EventBusName", ["CreateSite=true", "NotifyEmail=web@example.com", "EventBusName=none"]),
        ("GitHubEnvironment", ["CreateSite=true", "GitHubRepository=example/site", "GitHubRef=refs/heads/*"]),
        ("owner/name", ["CreateSite=true", "GitHubRepository=example/*"]),
    ):
        refusal = run(*deploy, *parameters, fails=True)
        agree("whether the template's rule names the parameter", named in refusal, True)


def saved_event(stack, deployment):
    """Returns the event of a past deployment, as events/README.md describes."""
    told = json.loads(command_line.say(stack, "logs", deployment, "--json"))
    return json.loads(told["deployment"]["event"])


def replay(stack, event):
    """Sends an event as events/README.md does."""
    file = WORK / "event.json"
    file.write_text(json.dumps(event))
    run("sam", "remote", "invoke", "Function", *ENVIRONMENT, "--event-file", file, "--parameter", "InvocationType=Event")
    return stack.next_line()


def keep_failed_events(stack):
    """Gives the function its queue: MiniStack's CloudFormation ignores DeadLetterConfig, but its Lambda supports it."""
    queue = stack.sqs.get_queue_attributes(QueueUrl=stack["FailedEventsUrl"], AttributeNames=["QueueArn"])
    run("aws", "lambda", "update-function-configuration", "--function-name", stack["FunctionName"],
        "--dead-letter-config", f"TargetArn={queue['Attributes']['QueueArn']}")


def failed_event(stack):
    """Waits for the one event in the failure queue."""

    def look():
        return stack.sqs.receive_message(QueueUrl=stack["FailedEventsUrl"], VisibilityTimeout=0).get("Messages")

    [message] = wait_for("the event in the failure queue", look)
    failed = json.loads(message["Body"])
    # Lambda puts the event itself into the queue, MiniStack a record around it. The function accepts both.
    return failed.get("requestPayload", failed)


def failing_archive(stack):
    before = objects(stack)
    broken = WORK / "broken.zip"
    broken.write_bytes(b"this is no zip")
    attempts = [stack.upload(broken, "broken.zip"), stack.next_line(), stack.next_line()]
    for line in attempts:
        agree("outcome of an attempt", (line["outcome"], line["errorType"]), ("failed", "ArchiveRejected"))
    agree("key in the queue", failed_event(stack)["Records"][0]["s3"]["object"]["key"], "uploads/broken.zip")
    listed = command_line.say(stack, "redrive", "--send", "1")
    agree("whether the archive is named", "uploads/broken.zip" in listed, True)
    for _ in range(3):
        agree("error of its redrive", stack.next_line()["errorType"], "ArchiveRejected")
    failed_event(stack)
    command_line.say(stack, "redrive", "--delete", "1")
    agree("live objects", objects(stack), before)


def stopped_function(stack, first, second):
    recipes.of("## A stuck deployment", 2)
    run("aws", "s3", "cp", "--only-show-errors", first, stack["UploadUrl"] + "site.zip")
    event = failed_event(stack)
    recipes.of("## A stuck deployment", 3)
    command_line.say(stack, "redrive", "--send", "1")
    agree("outcome of its redrive", stack.next_line()["outcome"], "deployed")
    stack.judge.check_bucket(entries(first))
    command_line.redrive(stack, event)
    agree("outcome of the way back", stack.upload(second, "site.zip")["outcome"], "deployed")


def objects(stack):
    pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack["LiveBucketName"])
    return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def view(stack, path):
    """Requests a path through the distribution; returns status, headers and body."""
    host = stack["SiteUrl"].removeprefix("https://").rstrip("/")
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, headers={"Host": host})
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"]))
    try:
        answer = urllib.request.build_opener(tls, NoRedirects).open(request)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read()


def see_pages(stack, site):
    for name in [name for name in site if name.endswith(".html")]:
        status, headers, body = view(stack, "/" + urllib.parse.quote(name))
        agree(f"the answer to viewers for {name}", (status, body == site[name]), (200, True))
        agree("a header of the stack's policy", headers["x-content-type-options"], "nosniff")


def index_pages(stack):
    """Checks how the distribution's function rewrites paths without a file name."""
    site = files(SAMPLES / "first")
    agree("/", view(stack, "/")[2] == site["index.html"], True)
    agree("/docs/", view(stack, "/docs/")[2] == site["docs/index.html"], True)
    status, headers, _ = view(stack, "/docs?a=1&b=")
    agree("/docs", (status, headers["location"]), (302, "/docs/?a=1&b"))
    # The redirect must not lead to another host.
    agree("//elsewhere/docs", view(stack, "//elsewhere/docs")[1]["location"], "/elsewhere/docs/")


def ways_in():
    """Returns the other combinations of parameters that matter, by the name of their stack."""
    s3, cloudfront, acm = boto3.client("s3"), boto3.client("cloudfront"), boto3.client("acm")
    for bucket in ("example-plain", "example-two", "example-hidden"):
        s3.create_bucket(Bucket=bucket)
    root = distribution(cloudfront, "example-two", "")
    folder = distribution(cloudfront, "example-two", "/docs")
    hidden = distribution(cloudfront, "example-proxy", "/docs")
    certificate = acm.request_certificate(DomainName="www.example.com")["CertificateArn"]
    return {
        "dropship-plain": ["LiveBucketName=example-plain"],
        "dropship-two": ["LiveBucketName=example-two", "LivePrefix=docs", f"DistributionIds={root},{folder}"],
        "dropship-hidden": [
            "LiveBucketName=example-hidden", "LivePrefix=docs/v2", f"DistributionIds={hidden}", f"OriginPaths={hidden}=/docs",
        ],
        "dropship-folder": [
            "CreateSite=true", "LivePrefix=docs", "CleanUrls=true", "Alias=www.example.com", f"CertificateArn={certificate}",
            "CacheTags=true",
        ],
    }


def distribution(cloudfront, bucket, origin_path):
    origin = {
        "Id": "live",
        "DomainName": f"{bucket}.s3.{REGION}.amazonaws.com",
        "OriginPath": origin_path,
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    config = {
        "CallerReference": bucket + origin_path,
        "Comment": "",
        "Enabled": True,
        "DefaultRootObject": "index.html",
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {
            "TargetOriginId": "live",
            "ViewerProtocolPolicy": "redirect-to-https",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6", # Managed-CachingOptimized
        },
    }
    return cloudfront.create_distribution(DistributionConfig=config)["Distribution"]["Id"]


def other_way_in(name, parameters):
    run("sam", "deploy", "--stack-name", name, "--region", REGION, "--resolve-s3", "--capabilities", "CAPABILITY_IAM",
        "--parameter-overrides", *parameters)
    stack = Stack(name)
    ids = stack.variables["DISTRIBUTION_IDS"]
    for version in ("first", "second"):
        archive = zipped(version)
        line = stack.upload(archive, "site.zip")
        agree("outcome", line["outcome"], "deployed")
    if not ids:
        stack.judge.cache_control = stack.judge.cache_control.replace(" s-maxage=86400,", "")
    stack.judge.check_bucket(files(SAMPLES / "second"))
    told = {sent["distributionId"] for sent in line["invalidations"]}
    agree("distributions with an invalidation", told, {one.split("=")[0] for one in ids.split(",") if one})
    if name == "dropship-folder":
        step("The command line")
        command_line.story(stack, WORK, SAMPLES / "first", SAMPLES / "second")
    run("sam", "delete", "--stack-name", name, "--region", REGION, "--no-prompts")


def zipped(version):
    """Packs a version of the sample site."""
    archive = WORK / f"{version}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, body in files(SAMPLES / version).items():
            opened.writestr(name, body)
    return archive


def stacks(stack):
    """Returns the names of dropship's stacks, without SAM's own for `sam deploy --resolve-s3`."""
    described = stack.cloudformation.describe_stacks()["Stacks"]
    return [one["StackName"] for one in described if one["StackName"].startswith("dropship")]


if __name__ == "__main__":
    started = time.monotonic()
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"stack: {wrong}")
    print(f"\nThe stack does what it promises ({time.monotonic() - started:.0f} s).")
