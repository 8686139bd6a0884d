"""Packs a folder with Python's zipfile: pack.py MODE FOLDER ARCHIVE."""

import io
import shutil
import sys
import zipfile
from pathlib import Path

METHODS = {"store": zipfile.ZIP_STORED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


class Pipe(io.RawIOBase):
    """A file that cannot seek, so that zipfile writes data descriptors."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def writable(self):
        return True

    def write(self, part):
        return self.file.write(part)


def main(mode, folder, archive):
    if mode == "make_archive":
        shutil.make_archive(archive.removesuffix(".zip"), "zip", folder)
        return
    target = Pipe(archive) if mode.startswith("pipe") else archive
    with zipfile.ZipFile(target, "w", METHODS.get(mode, zipfile.ZIP_DEFLATED)) as packed:
        packed.comment = b"built by CI"
        for path in sorted(Path(folder).rglob("*")):
            # By default, zipfile refuses years that a zip has no room for.
            info = zipfile.ZipInfo.from_file(path, path.relative_to(folder), strict_timestamps=mode == "strict")
            if path.is_dir():
                packed.writestr(info, b"")
            else:
                info.compress_type = packed.compression
                with path.open("rb") as file, packed.open(info, "w", force_zip64=mode.endswith("zip64")) as entry:
                    shutil.copyfileobj(file, entry)


main(*sys.argv[1:])
