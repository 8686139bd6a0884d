"""Runs the shell commands of the documents, exactly as they are printed there."""

import os
import subprocess

from stack import REPOSITORY, Wrong

SECTION = "## Deploy it to your account"


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


def walk():
    """Runs the README's commands; returns the last line that they print."""
    # The first block installs the command line, which tests/stack.sh has built.
    return bash(block("README.md", SECTION, 2)).strip().splitlines()[-1].strip()
