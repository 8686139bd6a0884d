"""Removes the statements of the function's policy, one at a time, and checks that something fails without each."""

import json
import uuid
import zipfile
from datetime import datetime, timezone

from stack import Wrong, agree

# Statements whose absence MiniStack does not notice, and why. tests/it/policy.rs checks them against AWS's rules.
LAMBDA = "Lambda uses the function's role for it, MiniStack does not"
UNSEEN = {
    "MissStagedObjects": "S3 answers 403 for a missing object to a caller without ListBucket, MiniStack always 404",
    "WriteLog": LAMBDA,
    "KeepFailedEvents": LAMBDA,
    "Trace": LAMBDA,
    "TellResults": LAMBDA,
    "ReadCachePolicies": "the created site has CachingOptimized, which the function knows without reading it",
}


def remove_each_statement(stack, work):
    role, name, document = stack.policy()

    def put(statements):
        changed = {**document, "Statement": statements}
        stack.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(changed))

    agree("failures with the whole policy", failures(stack, work), [])
    for removed in document["Statement"]:
        sid = removed["Sid"]
        put([statement for statement in document["Statement"] if statement is not removed])
        failed = failures(stack, work)
        put(document["Statement"])
        if sid in UNSEEN:
            agree(f"failures without {sid}", failed, [])
            print(f"without {sid}: nothing fails here ({UNSEEN[sid]})")
        elif not failed:
            raise Wrong(f"nothing fails without {sid}: the function does not need it")
        else:
            print(f"without {sid}: {failed[0][:200]}")
    agree("failures with the whole policy again", failures(stack, work), [])


def failures(stack, work):
    """Deploys a change and an archive that is gone; returns what went wrong with either."""
    failed = []
    answer = stack.invoke(event(stack, put_archive(stack, work)))
    [deployment] = answer.get("deployments", [None])
    if deployment is None:
        failed.append(f"{answer['errorType']}: {answer['errorMessage']}")
    elif not deployment["changed"] or not deployment["invalidations"]:
        failed.append(f"nothing changed: {deployment}")
    gone = stack.invoke(event(stack, str(uuid.uuid4())))
    if gone.get("errorType") != "ArchiveGone":
        failed.append(f"not ArchiveGone: {gone}")
    return failed


def put_archive(stack, work):
    """Uploads an archive with a change under a name whose own event is ignored; returns its version."""
    archive = work / "change.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("index.html", f"<h1>{uuid.uuid4()}</h1>")
        opened.writestr("same.txt", "the same in every version")
        opened.writestr(f"{uuid.uuid4()}.txt", "new in this version")
    bucket = stack["StagingBucketName"]
    with archive.open("rb") as body:
        put = stack.s3.put_object(Bucket=bucket, Key="uploads/change", Body=body)
    return put["VersionId"]


def event(stack, version):
    """Returns the fields of S3's event that matter, with its time: S3's own dates have whole seconds.

    As a replay it deploys a zip of any name.
    """
    uploaded = {"bucket": {"name": stack["StagingBucketName"]}, "object": {"key": "uploads/change", "versionId": version}}
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {"Records": [{"eventTime": time, "s3": uploaded}], "options": {"replay": True}}
