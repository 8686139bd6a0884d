"""The tools, how each packs a folder, and what to expect of the archive.

A command runs in the folder, in a UTF-8 locale, with these variables: $folder and $archive; $programs, the folder of
this file; $build, where a program may be compiled; $modules, where the packages of Node are.
"""

from dataclasses import dataclass

from folders import LINKS, SITE, TIMES


@dataclass(frozen=True)
class Expectation:
    # What happens: the archive is "live", or dropship has "refused" it, or the tool "fails" to pack.
    outcome: str
    # A part of the refusal's sentence, which says what to do, or of the tool's own error.
    words: str = ""
    because: str = ""
    # Files that the tool adds to the site, and files that it leaves out by itself.
    adds: tuple = ()
    lacks: tuple = ()


def live(because, **differences):
    return Expectation("live", because=because, **differences)


def refused(words, because=""):
    return Expectation("refused", words, because)


def fails(words, because=""):
    return Expectation("fails", words, because)


LIVE = Expectation("live")
ENCRYPTED = refused("is encrypted; pack the archive without a password")
LINKED_FOLDER = live("it makes an empty folder of the link to a folder", lacks=("linked/page.html",))
LINK = refused("is a symbolic link or another special file; pack a copy in which files replace the links")


def method(name):
    return refused(f"({name}), but only stored (0), deflate (8) and zstd (93) are read; pack it with one of these")


@dataclass(frozen=True)
class Case:
    name: str
    command: str
    expects: Expectation = LIVE
    folder: str = SITE


@dataclass(frozen=True)
class Tool:
    name: str
    # A command that succeeds if the tool is installed.
    probe: str
    # The packages of Debian that have it.
    packages: str
    cases: list
    # A command that runs once, before the cases.
    prepare: str = ""


TOOLS = []


def tool(*fields, **more):
    TOOLS.append(Tool(*fields, **more))


# One line for each case: a formatter would spread them.
# fmt: off

tool("info-zip", "command -v zip", "zip", [
    Case("deflate", 'zip -qr "$archive" .'),
    Case("c-locale", 'LC_ALL=C zip -qr "$archive" .'),
    Case("store", 'zip -qr0 "$archive" .'),
    Case("without-extra-fields", 'zip -qrX "$archive" .'),
    Case("without-folders", 'zip -qrD "$archive" .'),
    Case("zip64", 'zip -qr -fz "$archive" .'),
    Case("descriptors", 'zip -qr -fd "$archive" .'),
    Case("pipe", 'zip -qr - . >"$archive"'),
    Case("pipe-c-locale", 'LC_ALL=C zip -qr - . | cat >"$archive"'),
    Case("pipe-zip64", 'zip -qr -fz - . | cat >"$archive"', refused(
        "ZIP64 end record is invalid: it is missing; pack the archive into a file, or with another tool",
        "zip forgets the record, and no other reader can open the archive either",
    )),
    Case("comment", 'zip -qr "$archive" . && echo "built by CI" | zip -qz "$archive"'),
    Case("updated", 'zip -qr "$archive" index.html signs && zip -qr "$archive" .'),
    Case("deleted", 'zip -qr "$archive" . && zip -qd "$archive" numbers.txt && zip -qr "$archive" .'),
    Case("synchronized", 'zip -qr "$archive" index.html && zip -qr -FS "$archive" .'),
    Case("self-extracting", 'zip -qr - . | cat /bin/sh - >"$archive" && zip -qA "$archive"'),
    Case("behind-a-program", 'zip -qr - . | cat /bin/sh - >"$archive"', refused(
        "correct the offsets with `zip -A`",
    )),
    Case("bzip2", 'zip -qr -Z bzip2 "$archive" .', method("bzip2")),
    Case("encrypted", 'zip -qr -P secret "$archive" .', ENCRYPTED),
    Case("split", 'zip -qr -s 1m "$archive" .', refused("is split over several files; pack it as one file")),
    Case("links-followed", 'zip -qr "$archive" .', folder=LINKS),
    Case("links-stored", 'zip -qry "$archive" .', LINK, LINKS),
    Case("times", 'zip -qr "$archive" .', folder=TIMES),
])

tool("7-zip", "command -v 7zz", "7zip", [
    Case("deflate", '7zz a -tzip -bd "$archive" .'),
    Case("utf8", '7zz a -tzip -bd -mcu=on "$archive" .'),
    Case("local-code-page", '7zz a -tzip -bd -mcl=on "$archive" .'),
    Case("c-locale", 'LC_ALL=C 7zz a -tzip -bd "$archive" .'),
    Case("store", '7zz a -tzip -bd -mx0 "$archive" .'),
    Case("ultra", '7zz a -tzip -bd -mx9 "$archive" .'),
    Case("pipe", '7zz a -tzip -bd -so site.zip . >"$archive"'),
    Case("updated", '7zz a -tzip -bd "$archive" index.html signs && 7zz a -tzip -bd "$archive" .'),
    Case("renamed", '7zz a -tzip -bd "$archive" . && 7zz rn -bd "$archive" index.html a && '
                    '7zz rn -bd "$archive" a index.html'),
    Case("deleted", '7zz a -tzip -bd "$archive" . && 7zz d -bd "$archive" signs && 7zz a -tzip -bd "$archive" signs'),
    Case("absolute", '7zz a -tzip -bd -spf "$archive" "$folder"', refused(
        "its name is absolute; pack the folder's contents with relative names",
    )),
    Case("deflate64", '7zz a -tzip -bd -mm=Deflate64 "$archive" .', method("Deflate64")),
    Case("lzma", '7zz a -tzip -bd -mm=LZMA "$archive" .', method("LZMA")),
    Case("encrypted", '7zz a -tzip -bd -psecret "$archive" .', ENCRYPTED),
    Case("encrypted-aes", '7zz a -tzip -bd -psecret -mem=AES256 "$archive" .', ENCRYPTED),
    Case("7z", '7zz a -t7z -bd "$archive" .', refused("is a 7z archive; dropship takes zip files")),
    Case("links", '7zz a -tzip -bd "$archive" .', folder=LINKS),
    Case("links-stored", '7zz a -tzip -bd -snl "$archive" .', LINK, LINKS),
    Case("times", '7zz a -tzip -bd "$archive" .', folder=TIMES),
    Case("precise-times", '7zz a -tzip -bd -mtc=on -mta=on "$archive" .', folder=TIMES),
])

tool("bsdtar", "command -v bsdtar", "libarchive-tools", [
    Case("deflate", 'bsdtar --format zip -cf "$archive" .'),
    Case("by-name", 'bsdtar -a -cf "$archive" .'),
    Case("without-dot", 'find . -mindepth 1 -maxdepth 1 -printf "%P\\0" | bsdtar -a -cf "$archive" --null -T -'),
    Case("c-locale", 'LC_ALL=C bsdtar -a -cf "$archive" .'),
    # The command that the message about backslashes recommends.
    Case("charset", 'bsdtar -a -c -f "$archive" --options hdrcharset=UTF-8 -C "$folder" .'),
    Case("store", 'bsdtar --format zip --options zip:compression=store -cf "$archive" .'),
    Case("zip64", 'bsdtar --format zip --options zip:zip64 -cf "$archive" .'),
    Case("pipe", 'bsdtar --format zip -cf - . >"$archive"'),
    Case("pipe-long-blocks", 'bsdtar --format zip -b 200 -cf - . >"$archive"', refused(
        "it was cut short, or bytes follow its end; upload it again, exactly as it was packed",
        "over 64 KiB of zeros follow the end, and Python cannot find it either",
    )),
    Case("encrypted", 'bsdtar --format zip --options zip:encryption --passphrase x -cf "$archive" .', ENCRYPTED),
    Case("tar-gz", 'bsdtar -czf "$archive" .', refused("is gzip-compressed data, such as a `.tar.gz`")),
    Case("links-followed", 'bsdtar -a -L -cf "$archive" .', folder=LINKS),
    Case("links-stored", 'bsdtar -a -cf "$archive" .', LINK, LINKS),
    Case("times", 'bsdtar -a -cf "$archive" .', folder=TIMES),
])

tool("jar", "command -v jar", "default-jdk-headless", [
    Case("deflate", 'jar -cMf "$archive" .'),
    Case("from-another-folder", 'cd / && jar -cMf "$archive" -C "$folder" .'),
    Case("store", 'jar -c0Mf "$archive" .'),
    Case("pipe", 'jar -cM . >"$archive"'),
    Case("updated", 'jar -cMf "$archive" signs && jar -uMf "$archive" .'),
    Case("manifest", 'jar -cf "$archive" .', live("it adds its manifest", adds=("META-INF/MANIFEST.MF",))),
    Case("c-locale", 'LC_ALL=C jar -cMf "$archive" .', fails("no such file", "it cannot name such files")),
    Case("links", 'jar -cMf "$archive" .', folder=LINKS),
    Case("times", 'jar -cMf "$archive" .', folder=TIMES),
])

# Ant and Gradle write with the code of Apache Commons Compress.
ANT = 'ant -q -f "$programs/build.xml" -Dfolder="$folder" -Darchive="$archive" -Dzip64='
tool("ant", "command -v ant", "ant", [
    Case("deflate", ANT + "as-needed"),
    Case("zip64", ANT + "always"),
    Case("links", ANT + "as-needed", folder=LINKS),
    Case("times", ANT + "as-needed", folder=TIMES),
])

# Recompresses archives.
tool("advzip", "command -v advzip && command -v zip", "advancecomp zip", [
    Case("deflate", 'zip -qr "$archive" . && advzip -q -z -1 "$archive"'),
])

# zlib's own example of a packer. It packs files only.
tool("minizip", "command -v minizip", "minizip", [
    Case("deflate", 'find . -type f -printf "%P\\0" | xargs -0 minizip -o "$archive"', refused(
        "not marked as UTF-8; pack with a tool that writes UTF-8 names", "readers take such names for code page 437",
    )),
])

PYTHON = 'python3 "$programs/pack.py"'
tool("python", "command -v python3", "python3", [
    Case("deflate", PYTHON + ' deflate "$folder" "$archive"'),
    Case("c-locale", "LC_ALL=C " + PYTHON + ' deflate "$folder" "$archive"'),
    Case("store", PYTHON + ' store "$folder" "$archive"'),
    Case("zip64", PYTHON + ' zip64 "$folder" "$archive"'),
    Case("pipe", PYTHON + ' pipe "$folder" "$archive"'),
    Case("pipe-zip64", PYTHON + ' pipe-zip64 "$folder" "$archive"'),
    Case("make-archive", PYTHON + ' make_archive "$folder" "$archive"'),
    Case("bzip2", PYTHON + ' bzip2 "$folder" "$archive"', method("bzip2")),
    Case("lzma", PYTHON + ' lzma "$folder" "$archive"', method("LZMA")),
    Case("command", 'python3 -m zipfile -c "$archive" .'),
    Case("links", PYTHON + ' make_archive "$folder" "$archive"', LINKED_FOLDER, LINKS),
    Case("times", PYTHON + ' deflate "$folder" "$archive"', folder=TIMES),
    Case("times-strict", PYTHON + ' strict "$folder" "$archive"', fails(
        "struct.error", "a zip has no room for the year",
    ), TIMES),
])


def node(package, modes, links=LIVE):
    command = 'cd "$modules" && node --input-type=module - %s %s "$folder" "$archive" <"$programs/pack.mjs"'
    cases = [Case(mode, command % (package, mode)) for mode in modes.split()]
    cases.append(Case("links", command % (package, "deflate"), links, LINKS))
    cases.append(Case("times", command % (package, "deflate"), folder=TIMES))
    tool(package, f'command -v node && test -d "$modules/node_modules/{package}"', "nodejs", cases)


node("archiver", "deflate store zip64 stream", LINK)
node("yazl", "deflate store zip64 stream buffer")
node("jszip", "deflate store unix stream")
node("fflate", "deflate store stream")
node("adm-zip", "deflate files", LINKED_FOLDER)
node("@zip.js/zip.js", "deflate store zip64 seek")

GO = '"$build/pack-go"'
tool("go", "command -v go", "golang-go", [
    Case("deflate", GO + ' deflate "$folder" "$archive"'),
    Case("store", GO + ' store "$folder" "$archive"'),
    Case("plain", GO + ' plain "$folder" "$archive"'),
    Case("raw", GO + ' raw "$folder" "$archive"'),
    Case("links", GO + ' deflate "$folder" "$archive"', LINK, LINKS),
    Case("times", GO + ' deflate "$folder" "$archive"', folder=TIMES),
], prepare=(
    'GOTOOLCHAIN=local GOPROXY=off GOCACHE="$build/go" go build -o "$build/pack-go" "$programs/pack.go"'
))

PERL = 'perl "$programs/pack.pl"'
tool("archive-zip", "perl -MArchive::Zip -e 1", "libarchive-zip-perl", [
    Case("deflate", PERL + ' Archive::Zip deflate "$folder" "$archive"'),
    Case("store", PERL + ' Archive::Zip store "$folder" "$archive"'),
    Case("zip64", PERL + ' Archive::Zip zip64 "$folder" "$archive"'),
    Case("pipe", PERL + ' Archive::Zip pipe "$folder" "$archive"'),
    Case("links", PERL + ' Archive::Zip deflate "$folder" "$archive"', LINKED_FOLDER, LINKS),
    Case("times", PERL + ' Archive::Zip deflate "$folder" "$archive"', folder=TIMES),
])
tool("io-compress-zip", "perl -MIO::Compress::Zip -e 1", "perl", [
    Case("deflate", PERL + ' IO::Compress::Zip deflate "$folder" "$archive"'),
    Case("utf8", PERL + ' IO::Compress::Zip utf8 "$folder" "$archive"'),
    Case("store", PERL + ' IO::Compress::Zip store "$folder" "$archive"'),
    Case("stream", PERL + ' IO::Compress::Zip stream "$folder" "$archive"'),
    Case("zip64", PERL + ' IO::Compress::Zip zip64 "$folder" "$archive"'),
    Case("minimal", PERL + ' IO::Compress::Zip minimal "$folder" "$archive"'),
    Case("links", PERL + ' IO::Compress::Zip deflate "$folder" "$archive"', folder=LINKS),
    Case("times", PERL + ' IO::Compress::Zip deflate "$folder" "$archive"', folder=TIMES),
])

PHP = 'php "$programs/pack.php"'
tool("php", "php -r 'exit(class_exists(\"ZipArchive\") ? 0 : 1);'", "php-cli php-zip", [
    Case("deflate", PHP + ' deflate "$folder" "$archive"'),
    Case("store", PHP + ' store "$folder" "$archive"'),
    Case("string", PHP + ' string "$folder" "$archive"'),
    Case("encrypted", PHP + ' encrypt "$folder" "$archive"', ENCRYPTED),
    Case("links", PHP + ' deflate "$folder" "$archive"', folder=LINKS),
    Case("times", PHP + ' deflate "$folder" "$archive"', folder=TIMES),
])

RUBY = 'ruby "$programs/pack.rb"'
tool("rubyzip", "ruby -rzip -e 0", "ruby ruby-zip", [
    Case("deflate", RUBY + ' deflate "$folder" "$archive"'),
    Case("unicode", RUBY + ' unicode "$folder" "$archive"'),
    Case("store", RUBY + ' store "$folder" "$archive"'),
    Case("zip64", RUBY + ' zip64 "$folder" "$archive"'),
    Case("stream", RUBY + ' stream "$folder" "$archive"'),
    Case("links", RUBY + ' deflate "$folder" "$archive"', LINK, LINKS),
    Case("times", RUBY + ' deflate "$folder" "$archive"', folder=TIMES),
])

MONO = 'mono "$build/pack.exe"'
MONO_PACKAGES = "mono-runtime mono-mcs libmono-system-io-compression-filesystem4.0-cil"
tool("mono", "command -v mono && command -v mcs", MONO_PACKAGES, [
    Case("directory", MONO + ' directory "$folder" "$archive"'),
    Case("optimal", MONO + ' optimal "$folder" "$archive"'),
    Case("store", MONO + ' store "$folder" "$archive"'),
    Case("backslash", MONO + ' backslash "$folder" "$archive"', refused(
        "has a backslash, which does not separate folders in a zip",
    )),
    Case("links", MONO + ' directory "$folder" "$archive"', folder=LINKS),
    Case("times", MONO + ' directory "$folder" "$archive"', folder=TIMES),
], prepare=(
    "mcs -r:System.IO.Compression.dll,System.IO.Compression.FileSystem.dll "
    '-out:"$build/pack.exe" "$programs/pack.cs"'
))

GIT = (
    'export GIT_CONFIG_GLOBAL=/dev/null GIT_DIR="$archive.git" GIT_WORK_TREE="$folder"; git init -q && '
    "git add --all && git -c user.name=CI -c user.email=ci@example.org commit -q --no-gpg-sign -m build && "
)
tool("git-archive", "command -v git", "git", [
    Case("deflate", GIT + 'git archive --format=zip HEAD >"$archive"'),
    Case("store", GIT + 'git archive --format=zip -0 -o "$archive" HEAD'),
    Case("links", GIT + 'git archive -o "$archive" HEAD', LINK, LINKS),
    Case("times", GIT + 'git archive -o "$archive" HEAD', folder=TIMES),
])
