"""The documents' own lines of shell, run as they stand there."""

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


def block(document, heading):
    """The first block of shell under a heading."""
    section = (REPOSITORY / document).read_text().partition(heading)[2]
    lines, fence, _ = section.partition("```sh\n")[2].partition("```")
    if not fence:
        raise Wrong(f"{document} has no block of shell under {heading!r}")
    return lines


def bash(lines, **variables):
    """Runs lines as they stand in a document; gives what they print."""
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
        raise Wrong(f"these lines end with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def walk(work):
    """Runs the README's block; gives the last line that it prints."""
    tools = work / "bin"
    tools.mkdir(exist_ok=True)
    if shutil.which("zip") is None:
        print("zip is not installed; a few lines of Python stand in for it")
        (tools / "zip").write_text(ZIP)
        (tools / "zip").chmod(stat.S_IRWXU)
    printed = bash(block("README.md", SECTION), PATH=f"{tools}:{os.environ['PATH']}")
    return printed.strip().splitlines()[-1]
