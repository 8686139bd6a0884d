"""Walks through the command line on a deployed stack: push, plan, push, history, rollback, a refused one."""

import json
import os
import subprocess
import zipfile

from stack import REPOSITORY, agree

EXECUTABLE = REPOSITORY / "target/debug/dropship"


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


def say(stack, *arguments, code=0):
    """Runs the command line as a user would, and returns what it printed."""
    command = [EXECUTABLE, *map(str, arguments)]
    print("$ dropship", *arguments, flush=True)
    # The SDK for Rust trusts SSL_CERT_FILE, and does not know AWS_CA_BUNDLE.
    trust = {"SSL_CERT_FILE": os.environ["AWS_CA_BUNDLE"]}
    environment = {**os.environ, **trust, "DROPSHIP_STACK": stack["FunctionName"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr if code else done.stdout
    agree(f"exit code of {' '.join(map(str, arguments))}: {done.stderr}", done.returncode, code)
    return said


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
