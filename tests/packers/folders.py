"""Makes the folders that every tool packs: the tricky site, one with symbolic links, and one with odd times."""

import os
import random
import shutil
from datetime import datetime, timezone

SITE, LINKS, TIMES = "site", "links", "times"

# `é`, in one code point and in two. macOS stores both as the same file.
COMPOSED, DECOMPOSED = "\u00e9", "e\u0301"

NUMBERS = "".join(f"{number}\n" for number in range(150_000)).encode()
# Deflate cannot shrink it, and some packers then store it.
NOISE = random.Random(1).randbytes(1 << 20)
# More than 8 MiB, so that it is uploaded in parts. It compresses well, so that packing is fast.
LARGE = "".join(f"{number} {'x' * 1_000}\n" for number in range(9_000)).encode()


def make(work):
    """Makes all folders in `work`, which is emptied first."""
    shutil.rmtree(work, ignore_errors=True)
    make_site(work / SITE)
    make_links(work / LINKS)
    make_times(work / TIMES)


def make_site(folder):
    # Characters that URLs, shells or code pages treat in their own way.
    names = [f"signs/{sign}.txt" for sign in "+%#&'()~@=;,!$^{}[]"]
    names += [
        "signs/+ % # & ' ( ) ~ @ = ;.txt",
        "100%25.txt",
        "%2e%2e.txt",
        "-rf.txt",
        "a page with spaces.html",
        f"{COMPOSED}/composed.html",
        f"{DECOMPOSED}/decomposed.html",
        f"{COMPOSED}.html",
        f"{DECOMPOSED}.html",
        "\U0001f600.html",
        "\u65e5\u672c\u8a9e/\u6587\u66f8.html",
        "Case.html",
        "case.html",
        "Case/page.html",
        "case/page.html",
        "long/" + "n" * 195 + ".html",
        "deep/" * 40 + "page.html",
        ".well-known/security.txt",
        "folder.with.dots/..page...html",
    ]
    files = {name: name.encode() for name in names}
    files |= {
        "index.html": b"<p>hello",
        "empty.txt": b"",
        ".nojekyll": b"",
        "numbers.txt": NUMBERS,
        "noise.bin": NOISE,
        "large.txt": LARGE,
        # A file that looks like the end of a zip, and a zip inside the zip.
        "end.bin": b"PK\x05\x06" + bytes(18),
        "private.txt": b"mode 600",
        "run.sh": b"#!/bin/sh\n",
        "_headers": b"/numbers.txt\n  Cache-Control: public, max-age=61\n",
        # These two are left out.
        ".env": b"TOKEN=secret",
        ".git/config": b"[core]",
    }
    write(folder, files)
    (folder / "an empty folder").mkdir()
    (folder / "private.txt").chmod(0o600)
    (folder / "run.sh").chmod(0o755)


def make_links(folder):
    write(folder, {"index.html": b"<p>hello", "docs/page.html": b"<p>page"})
    (folder / "link.html").symlink_to("index.html")
    (folder / "linked").symlink_to("docs")


def make_times(folder):
    """The times of a zip begin in 1980 and end in 2107 (APPNOTE 4.4.6)."""
    write(folder, {"index.html": b"<p>hello", "before.html": b"1975", "after.html": b"2150"})
    for name, year in (("before.html", 1975), ("after.html", 2150)):
        seconds = datetime(year, 1, 1, tzinfo=timezone.utc).timestamp()
        os.utime(folder / name, (seconds, seconds))


def write(folder, files):
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        # One time for all, so that the archives are the same on every day.
        os.utime(path, (1_000_000_000, 1_000_000_000))
