"""Packs the folders with every tool that is installed. tests/packers.sh starts it.

main.py packages     prints the Debian packages of the tools that are missing
main.py pack WORK    packs into WORK, and writes to WORK/cases.json what to expect of each archive
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import folders
from tools import TOOLS

PROGRAMS = Path(__file__).resolve().parent
MODULES = PROGRAMS.parents[1] / "target/packers/node"
ENVIRONMENT = os.environ | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "programs": str(PROGRAMS), "modules": str(MODULES)}


def main(job, *arguments):
    installed = [tool for tool in TOOLS if run(tool.probe, PROGRAMS, ENVIRONMENT) is None]
    missing = [tool for tool in TOOLS if tool not in installed]
    if job == "packages":
        print(*sorted({package for tool in missing for package in tool.packages.split()}))
        return
    for tool in missing:
        print(f"skipped: {tool.name} is not installed")
    pack(installed, Path(*arguments).resolve())


def pack(tools, work):
    folders.make(work)
    build = work / "build"
    build.mkdir()
    environment = ENVIRONMENT | {"build": str(build)}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(lambda tool: pack_with(tool, work, environment), tools))
    cases = [case for packed, _ in results for case in packed]
    (work / "cases.json").write_text(json.dumps(cases, indent=1))
    print(f"{len(cases)} archives of {len(tools)} tools")
    problems = [problem for _, problems in results for problem in problems]
    problems += [f"{package}: tools.py does not have it" for package in packages_of_node() - {t.name for t in TOOLS}]
    if problems:
        sys.exit("\n".join(problems))


def packages_of_node():
    return set(json.loads((PROGRAMS / "node/package.json").read_text())["dependencies"])


def pack_with(tool, work, environment):
    """Returns what to expect of the archives, and the cases in which the tool itself did not do as expected."""
    error = run(tool.prepare, work, environment)
    if error is not None:
        return [], [f"{tool.name}: {error}"]
    packed, problems = [], []
    for case in tool.cases:
        name = f"{tool.name} {case.name}"
        folder, archive = work / case.folder, work / f"{name.replace('/', '-').replace(' ', '-')}.zip"
        error = run(case.command, folder, environment | {"folder": str(folder), "archive": str(archive)})
        if case.expects.outcome == "fails":
            if error is None or case.expects.words not in error:
                problems.append(f"{name}: it should fail with `{case.expects.words}`: {error}")
        elif error is not None:
            problems.append(f"{name}: {error}")
        else:
            packed.append({"name": name, "archive": archive.name, "folder": case.folder} | asdict(case.expects))
    return packed, problems


def run(command, folder, environment):
    """Runs a command. Returns what it printed if it fails, and `None` if it succeeds."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return None if done.returncode == 0 else done.stdout.decode(errors="replace") or "it fails and prints nothing"


main(*sys.argv[1:])
