"""The newcomer's path: the README's own lines, run one after the other as they stand there."""

import os
import shutil
import stat
import subprocess

from stack import REPOSITORY, Wrong

SECTION = "## In your account"

# For machines without Info-ZIP: `zip -qr - .` in Python.
ZIP = """#!/usr/bin/env python3
import os, sys, zipfile
assert sys.argv[1:] == ["-qr", "-", "."], sys.argv
with zipfile.ZipFile(sys.stdout.buffer, "w", zipfile.ZIP_DEFLATED) as archive:
    for folder, _, files in os.walk("."):
        for file in files:
            archive.write(os.path.join(folder, file))
"""


def lines():
    """The first block of shell in the README's section."""
    section = (REPOSITORY / "README.md").read_text().partition(SECTION)[2]
    block, fence, _ = section.partition("```sh\n")[2].partition("```")
    if not fence:
        raise Wrong(f"the README has no block of shell under {SECTION!r}")
    return block


def walk(work):
    """Runs the block; gives the last line that it printed."""
    tools = work / "bin"
    tools.mkdir(exist_ok=True)
    if shutil.which("zip") is None:
        print("zip is not installed; a few lines of Python stand in for it")
        (tools / "zip").write_text(ZIP)
        (tools / "zip").chmod(stat.S_IRWXU)
    block = lines()
    print(block, flush=True)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Wrong(f"the README's lines end with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]
