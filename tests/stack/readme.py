"""Runs the shell commands of the documents, exactly as they are printed there."""

import os
import shutil
import stat
import subprocess

from stack import REPOSITORY, Wrong

SECTION = "## Deploy it to your account"

# `zip -qr - .` in Python, for machines without Info-ZIP.
ZIP = """#!/usr/bin/env python3
import os, sys, zipfile
assert sys.argv[1:] == ["-qr", "-", "."], sys.argv
with zipfile.ZipFile(sys.stdout.buffer, "w", zipfile.ZIP_DEFLATED) as archive:
    for folder, _, files in os.walk("."):
        for file in files:
            archive.write(os.path.join(folder, file))
"""


def block(document, heading, number=1):
    """Returns a block of shell commands under a heading, by default the first."""
    _, _, section = ("\n" + (REPOSITORY / document).read_text()).partition(f"\n{heading}\n")
    for _ in range(number):
        lines, fence, section = section.partition("```sh\n")[2].partition("```")
    if not fence:
        raise Wrong(f"{document} has no block {number} of shell commands under {heading!r}")
    return lines


def bash(lines, **variables):
    """Runs commands from a document; returns what they print."""
    print(lines, flush=True)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Wrong(f"these commands exit with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def walk(work):
    """Runs the README's commands; returns the last line that they print."""
    tools = work / "bin"
    tools.mkdir(exist_ok=True)
    if shutil.which("zip") is None:
        print("zip is not installed; a few lines of Python stand in for it")
        (tools / "zip").write_text(ZIP)
        (tools / "zip").chmod(stat.S_IRWXU)
    printed = bash(block("README.md", SECTION), PATH=f"{tools}:{os.environ['PATH']}")
    return printed.strip().splitlines()[-1]
