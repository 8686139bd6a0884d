#!/usr/bin/env bash
# Packs a folder with everything that people pack with, and deploys each archive on the stand-ins for AWS.
#   tests/packers.sh            with the tools that are installed, as .ci/run does; takes about a minute
#   tests/packers.sh install    installs the tools, on Debian as root: its own packages, and Node's into target/packers
#
# tests/packers/tools.py lists the tools, how each packs, and what to expect of the archive: it goes live byte for
# byte, or it is refused in a sentence that says what to do. The folder has everything that packers, code pages, URLs or
# shells treat specially (tests/packers/folders.py).
#
# It needs Python 3, and skips each tool that is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

modules=target/packers/node

install() {
    local packages
    packages=$(python3 tests/packers/main.py packages)
    command -v npm >/dev/null || packages+=" npm"
    if [[ -n $packages ]]; then
        apt-get update -q
        # shellcheck disable=SC2086 # one word for each package
        DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends --no-upgrade $packages
    fi
    mkdir -p "$modules"
    cp tests/packers/node/package.json tests/packers/node/package-lock.json "$modules"
    npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund
}

case ${1:-pack} in
    install) install ;;
    pack)
        if ! command -v python3 >/dev/null; then
            echo "skipped: Python 3 is not installed"
            exit
        fi
        work="$PWD/target/packers/work"
        python3 tests/packers/main.py pack "$work"
        DROPSHIP_PACKED="$work" cargo test --all-features --locked --test it -- packed::
        rm -rf "$work" # not after a failure
        ;;
    *)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
