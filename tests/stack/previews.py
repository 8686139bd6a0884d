"""Takes a preview from the push to its URL, to the promotion and to the removal.

The viewers ask MiniStack's distributions by host name; the functions are those of the template.
"""

import json
import os
import re
import ssl
import subprocess
import urllib.error
import urllib.request

import boto3
from command_line import files, say
from policies import check_preview_role
from stack import REPOSITORY, Stack, agree, run

NAME = "dropship-previews"
DOMAIN = "preview.example.com"


def story(samples):
    iam, acm = boto3.client("iam"), boto3.client("acm")
    certificate = acm.request_certificate(DomainName=f"*.{DOMAIN}")["CertificateArn"]
    account = boto3.client("sts").get_caller_identity()["Account"]
    provider = f"arn:aws:iam::{account}:oidc-provider/token.actions.githubusercontent.com"
    run("sam", "deploy", "--template-file", without_metric_math(), "--stack-name", NAME, "--region",
        acm.meta.region_name, "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--parameter-overrides",
        "CreateSite=true", "Previews=true", f"PreviewDomain={DOMAIN}", f"PreviewCertificateArn={certificate}",
        "GitHubRepository=example/site", f"OidcProviderArn={provider}")
    stack = Stack(NAME)
    first, second = samples / "first", samples / "second"
    agree("the live site", json.loads(say(stack, "push", first, "--json"))["outcome"], "deployed")

    role = stack["PreviewPushRoleArn"].rsplit("/", 1)[-1]
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    rights = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    check_preview_role(trust, rights, provider, "example/site", stack)
    pull_request = holder_of(iam, rights)

    # A pull request pushes, with nothing but the rights of its role.
    pushed = json.loads(say_as(pull_request, stack, "push", second, "--preview", "pr-7", "--json"))
    agree("outcome of the push", pushed["outcome"], "deployed")
    agree("URL of the preview", pushed["url"], f"https://pr-7.{DOMAIN}/")
    see(stack, f"pr-7.{DOMAIN}", files(second), "noindex")
    see(stack, live_host(stack), files(first), None)
    agree("the preview on the live host", view(live_host(stack), "/previews/pr-7/")[0], 404)
    agree("a host of no preview", view(f"a_b.{DOMAIN}", "/")[0], 404)
    # It cannot deploy the live site.
    refused = say_as(pull_request, stack, "push", second, code=1)
    agree("whether the live key is denied", "AccessDenied" in refused, True)
    agree("whether a promotion is denied", "AccessDenied" in say_as(pull_request, stack, "promote", "pr-7", code=1), True)
    see(stack, live_host(stack), files(first), None)

    [listed] = json.loads(say(stack, "previews", "--json"))
    agree("what is listed", (listed["name"], listed["url"]), ("pr-7", pushed["url"]))

    promoted = json.loads(say(stack, "promote", "pr-7", "--json"))
    agree("outcome of the promotion", promoted["outcome"], "deployed")
    see(stack, live_host(stack), files(second), None)
    archives = [stack.s3.head_object(Bucket=stack["StagingBucketName"], Key=key)["ETag"]
                for key in ("uploads/previews/pr-7/site.zip", "uploads/site.zip")]
    agree("the very bytes", archives[0], archives[1])
    source = json.loads(say(stack, "show", "--json"))["deployment"]["source"]
    agree("where the live build comes from", source["preview"], "pr-7")

    removed = json.loads(say_as(pull_request, stack, "remove", "pr-7", "--json"))
    agree("outcome of the removal", removed["outcome"], "removed")
    # CloudFront may not list the bucket, so S3 does not tell that there is no such page.
    agree("the removed preview", view(f"pr-7.{DOMAIN}", "/")[0], 403)
    left = stack.s3.list_objects_v2(Bucket=stack["LiveBucketName"], Prefix="previews/").get("Contents", [])
    agree("objects of previews", left, [])
    agree("what is listed then", json.loads(say(stack, "previews", "--json")), [])
    see(stack, live_host(stack), files(second), None)
    run("sam", "delete", "--stack-name", NAME, "--region", acm.meta.region_name, "--no-prompts")


def without_metric_math():
    """Returns a built template whose alarm about errors is that of a stack without previews: MiniStack does not know
    alarms on metric math.
    """
    built = REPOSITORY / ".aws-sam/build/template.yaml"
    start, alarm, end = re.split(r"(?ms)(^  ErrorsAlarm:.*?)(?=^  ThrottlesAlarm:)", built.read_text())
    agree("whether the alarm has another form with previews", "HasPreviews" in alarm, True)
    # The condition is false in this stack.
    plain = built.with_name("previews.yaml")
    plain.write_text(start + alarm.replace("HasPreviews", "HasTopic") + end)
    return plain


def holder_of(iam, rights):
    """Returns the credentials of a user with these rights: MiniStack takes no token of GitHub's."""
    iam.create_user(UserName="pull-request")
    iam.put_user_policy(UserName="pull-request", PolicyName="rights", PolicyDocument=json.dumps(rights))
    key = iam.create_access_key(UserName="pull-request")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def say_as(credentials, stack, *arguments, code=0):
    """Runs the command line with other credentials, and returns what it printed."""
    command = ["dropship", *map(str, arguments)]
    print("$", *command, "(as a pull request)", flush=True)
    environment = {**os.environ, **credentials, "DROPSHIP_STACK": stack["FunctionName"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    agree(f"exit code of {' '.join(command)}: {done.stdout}{done.stderr}", done.returncode, code)
    return done.stdout + (done.stderr if code else "")


def live_host(stack):
    return stack["SiteUrl"].removeprefix("https://").rstrip("/")


def see(stack, host, site, robots):
    """Looks at pages by their host, and at the header that keeps them out of search engines."""
    for path, name in (("/", "index.html"), ("/docs/", "docs/index.html"), ("/index.html", "index.html")):
        status, headers, body = view(host, path)
        agree(f"the answer of {host}{path}", (status, body == site[name]), (200, True))
        agree(f"X-Robots-Tag of {host}{path}", headers.get("x-robots-tag"), robots)


def view(host, path):
    """Requests a path by a host name; returns status, headers and body."""
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, headers={"Host": host})
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"]))
    try:
        answer = urllib.request.build_opener(tls).open(request)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read()
