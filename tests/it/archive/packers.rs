//! Archives of the tools that people pack with. A tool that is not installed is skipped.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use tempfile::TempDir;

use super::{Contents, contents};

#[test]
fn archives_of_pythons_zipfile_are_read_correctly() {
    const SCRIPT: &str = r#"
import io, os, sys, zipfile

class Pipe(io.RawIOBase):
    def __init__(self): self.parts = []
    def writable(self): return True
    def write(self, part): self.parts.append(bytes(part)); return len(part)

folder, method, streamed, zip64 = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4] == "1"
target = Pipe() if streamed else io.BytesIO()
with zipfile.ZipFile(target, "w", method) as archive:
    archive.comment = b"built by CI"
    for root, folders, files in os.walk(folder):
        if root != folder:
            archive.write(root, os.path.relpath(root, folder))
        for name in files:
            path = os.path.join(root, name)
            info = zipfile.ZipInfo.from_file(path, os.path.relpath(path, folder))
            info.compress_type = method
            with open(path, "rb") as file, archive.open(info, "w", force_zip64=zip64) as entry:
                entry.write(file.read())
sys.stdout.buffer.write(b"".join(target.parts) if streamed else target.getvalue())
"#;
    if !is_present("python3") {
        return;
    }
    let (folder, site) = site_folder();
    for method in ["0", "8"] {
        for streamed in ["0", "1"] {
            for zip64 in ["0", "1"] {
                let archive = run(Command::new("python3")
                    .args(["-c", SCRIPT])
                    .arg(folder.path())
                    .args([method, streamed, zip64]));
                let context = format!("method {method}, streamed {streamed}, zip64 {zip64}");
                assert_same(&archive, &site, &context);
            }
        }
    }
}

#[test]
fn archives_of_info_zip_are_read_correctly() {
    if !is_present("zip") {
        return;
    }
    let (folder, site) = site_folder();
    for options in [&["-r"][..], &["-r0"], &["-rX"], &["-rD"], &["-r", "-fz"], &["-r", "-fd"]] {
        // In one locale the names lack the UTF-8 flag; in the other they have it, or a Unicode path field.
        for locale in ["C", "C.UTF-8"] {
            for to_pipe in [false, true] {
                // Zip forgets the ZIP64 end record if it writes forced ZIP64 to a pipe; Python cannot open that either.
                if to_pipe && options.contains(&"-fz") {
                    continue;
                }
                let mut command = Command::new("zip");
                command.current_dir(&folder).env("LC_ALL", locale).arg("-q").args(options);
                let archive =
                    if to_pipe { run(command.args(["-", "."])) } else { packed(folder.path(), &mut command, &["."]) };
                assert_same(&archive, &site, &format!("{options:?} {locale} {to_pipe}"));
            }
        }
    }
}

#[test]
fn archives_of_javas_jar_tool_are_read_correctly() {
    if !is_present("jar") {
        return;
    }
    let (folder, site) = site_folder();
    for options in ["-cM", "-cM0"] {
        let archive =
            run(Command::new("jar").args([options, "-C"]).arg(folder.path()).arg(".").env("LC_ALL", "C.UTF-8"));
        assert_same(&archive, &site, options);
    }
}

#[test]
fn archives_of_bsdtar_are_read_correctly() {
    if !is_present("bsdtar") {
        return;
    }
    let (folder, site) = site_folder();
    for locale in ["C", "C.UTF-8"] {
        for options in ["zip:compression=deflate", "zip:compression=store", "zip:zip64"] {
            let mut command = Command::new("bsdtar");
            command.env("LC_ALL", locale).args(["--format", "zip", "--options", options, "-cf"]);
            let archive = packed(folder.path(), &mut command, &TOP_NAMES);
            assert_same(&archive, &site, &format!("{options} {locale}"));
        }
    }
    let bsdtar = || {
        let mut command = Command::new("bsdtar");
        command.args(["--format", "zip", "-cf"]);
        command
    };
    // From `.`, bsdtar makes names such as `./index.html`; to a pipe, it pads the archive to a tape block with zeros.
    let archive = packed(folder.path(), &mut bsdtar(), &["."]);
    assert_same(&archive, &site, "from `.`");
    let padded = run(bsdtar().current_dir(&folder).arg("-").args(TOP_NAMES));
    assert_refused(&padded, "bytes follow the end");
}

#[test]
fn archives_of_7_zip_are_read_correctly() {
    let Some(tool) = ["7zz", "7z", "7za"].into_iter().find(|tool| starts(tool, &[])) else {
        eprintln!("skipped: 7-Zip is not installed");
        return;
    };
    let (folder, site) = site_folder();
    for options in [&["-mcu=on"][..], &["-mx0", "-mcu=on"], &["-mx9", "-mcu=on"], &[]] {
        let mut command = Command::new(tool);
        command.env("LC_ALL", "C.UTF-8").args(["a", "-tzip", "-bd"]).args(options);
        let archive = packed(folder.path(), &mut command, &["."]);
        assert_same(&archive, &site, &format!("{options:?}"));
    }
}

#[test]
fn archives_of_git_archive_are_read_correctly() {
    if !is_present("git") {
        return;
    }
    let (folder, site) = site_folder();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(&folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["-c", "user.name=CI", "-c", "user.email=ci@example.org"])
            .args(arguments);
        run(&mut command)
    };
    git(&["init", "-q"]);
    git(&["add", "--all"]);
    git(&["commit", "-q", "--no-gpg-sign", "-m", "build"]);
    for arguments in [&["archive", "--format=zip", "HEAD"][..], &["archive", "--format=zip", "-0", "HEAD"]] {
        assert_same(&git(arguments), &site, &format!("{arguments:?}"));
    }
}

#[test]
fn archives_of_gos_archive_zip_are_read_correctly() {
    const PROGRAM: &str = r#"package main
import ("archive/zip"; "io/fs"; "os"; "path/filepath")
func check(err error) { if err != nil { panic(err) } }
func main() {
	root, writer := os.Args[1], zip.NewWriter(os.Stdout)
	check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if name == "." { return nil }
		if entry.IsDir() { _, err = writer.Create(name + "/"); return err }
		body, err := os.ReadFile(path); check(err)
		method := zip.Deflate
		if filepath.Ext(name) == ".svg" { method = zip.Store }
		file, err := writer.CreateHeader(&zip.FileHeader{Name: name, Method: method}); check(err)
		_, err = file.Write(body)
		return err
	}))
	check(writer.Close())
}
"#;
    if !starts("go", &["version"]) {
        eprintln!("skipped: Go is not installed");
        return;
    }
    let (folder, site) = site_folder();
    let program = tempfile::tempdir().unwrap();
    let program = program.path().join("pack.go");
    fs::write(&program, PROGRAM).unwrap();
    let archive = run(Command::new("go").arg("run").arg(&program).arg(folder.path()));
    assert_same(&archive, &site, "Go");
}

/// Mono's copy of .NET's `System.IO.Compression`.
///
/// PowerShell's Compress-Archive packs with it too, and older versions wrote backslashes on Windows.
#[test]
fn archives_of_dot_net_are_read_correctly() {
    const PROGRAM: &str = r#"
using System.IO; using System.IO.Compression;
static class Pack {
    static void Main(string[] given) {
        string folder = given[0], mode = given[1], target = given[2];
        if (mode == "directory") { ZipFile.CreateFromDirectory(folder, target); return; }
        var separator = mode == "backslash" ? "\\" : "/";
        using (var stream = File.Create(target))
        using (var zip = new ZipArchive(stream, ZipArchiveMode.Create))
            foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories)) {
                var name = file.Substring(folder.Length + 1).Replace("/", separator);
                var level = mode == "store" ? CompressionLevel.NoCompression : CompressionLevel.Optimal;
                zip.CreateEntryFromFile(file, name, level);
            }
    }
}
"#;
    if !starts("mono", &["--version"]) || !starts("mcs", &["--version"]) {
        eprintln!("skipped: Mono and its compiler are not installed");
        return;
    }
    let (folder, site) = site_folder();
    let program = tempfile::tempdir().unwrap();
    let source = program.path().join("pack.cs");
    fs::write(&source, PROGRAM).unwrap();
    let libraries = "-r:System.IO.Compression.dll,System.IO.Compression.FileSystem.dll";
    run(Command::new("mcs").arg(libraries).arg(&source));
    let pack = |mode: &str| {
        let mut command = Command::new("mono");
        command.env("LC_ALL", "C.UTF-8");
        command.arg(program.path().join("pack.exe"));
        packed(folder.path(), command.arg(folder.path()).arg(mode), &[])
    };
    for mode in ["directory", "optimal", "store"] {
        assert_same(&pack(mode), &site, mode);
    }
    assert_refused(&pack("backslash"), "backslash");
}

#[test]
fn archives_of_node_packages_are_read_correctly() {
    const ARCHIVER: &str = "
        const archive = require('archiver')('zip', {store: mode === 'store', forceZip64: mode === 'zip64'});
        archive.pipe(fs.createWriteStream(target));
        archive.directory(folder, false);
        archive.finalize();";
    const YAZL: &str = "
        const zip = new (require('yazl')).ZipFile();
        for (const name of fs.readdirSync(folder, {recursive: true})) {
            const file = path.join(folder, name);
            if (!fs.statSync(file).isFile()) continue;
            const options = {forceZip64Format: mode === 'zip64', compress: mode !== 'store'};
            if (mode === 'stream') zip.addReadStream(fs.createReadStream(file), name, options);
            else zip.addFile(file, name, options);
        }
        zip.outputStream.pipe(fs.createWriteStream(target));
        zip.end();";
    const ADM_ZIP: &str = "
        const zip = new (require('adm-zip'))();
        zip.addLocalFolder(folder);
        zip.writeZip(target);";
    let (folder, site) = site_folder();
    for (package, script) in [("archiver", ARCHIVER), ("yazl", YAZL), ("adm-zip", ADM_ZIP)] {
        if !starts("node", &["-e", &format!("require('{package}')")]) {
            eprintln!("skipped: Node's `{package}` is not installed (NODE_PATH)");
            continue;
        }
        for mode in ["deflate", "store", "zip64", "stream"] {
            let script = format!(
                "const fs = require('fs'), path = require('path');
                const [, folder, mode, target] = process.argv;
                {script}"
            );
            let mut command = Command::new("node");
            command.args(["-e", &script]).arg(folder.path()).arg(mode);
            let archive = packed(folder.path(), &mut command, &[]);
            assert_same(&archive, &site, &format!("{package} {mode}"));
        }
    }
}

/// The files and folders at the top of the site's folder.
const TOP_NAMES: [&str; 4] = [".well-known", "assets", "empty.txt", "index.html"];

/// Returns a folder with a small site, and the site: an empty file, folders, a UTF-8 name and a dot folder.
fn site_folder() -> (TempDir, Contents) {
    let folder = tempfile::tempdir().unwrap();
    let numbers: String = (0..5_000).map(|number| format!("{number} ")).collect();
    let mut contents: Contents = vec![
        ("index.html".into(), "<p>hello".into()),
        ("empty.txt".into(), Bytes::new()),
        ("assets/numbers.txt".into(), numbers.into()),
        ("assets/é/日本.svg".into(), "<svg/>".into()),
        (".well-known/security.txt".into(), "Contact:".into()),
    ];
    for (name, bytes) in &contents {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    contents.sort();
    (folder, contents)
}

/// Checks that an archive contains the site. The contents are too long for the message.
fn assert_same(archive: &[u8], site: &Contents, context: &str) {
    let read = contents(archive);
    assert!(read.as_ref() == Ok(site), "{context}: {:?}", read.err());
}

/// Returns whether a tool is installed, and prints a note if it is not.
fn is_present(tool: &str) -> bool {
    let is_present = starts(tool, &["--version"]);
    if !is_present {
        eprintln!("skipped: `{tool}` is not installed");
    }
    is_present
}

/// Runs a command that must succeed, and returns its output.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// Runs a packer inside the site's folder, with the path of the archive and `names` as last arguments, and
/// returns the archive.
fn packed(folder: &Path, command: &mut Command, names: &[&str]) -> Vec<u8> {
    let target = tempfile::tempdir().unwrap();
    let target = target.path().join("site.zip");
    run(command.current_dir(folder).arg(&target).args(names));
    fs::read(target).unwrap()
}

fn assert_refused(archive: &[u8], words: &str) {
    let reason = contents(archive).unwrap_err();
    assert!(reason.contains(words), "{reason}");
}

/// Returns whether a command succeeds, without its output.
fn starts(tool: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let status =
        Command::new(tool).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
