// Packs a folder with a package of Node: node --input-type=module - PACKAGE MODE FOLDER ARCHIVE <pack.mjs.
// It is read from standard input so that the packages are found beside the working directory.
import fs from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";

const [, , name, mode, folder, archive] = process.argv;

// Returns the files and folders below the folder, with `/` between their parts; links are followed.
function walk(below = "") {
  return fs.readdirSync(path.join(folder, below)).sort().flatMap((child) => {
    const inner = below + child;
    const isFolder = fs.statSync(path.join(folder, inner)).isDirectory();
    return isFolder ? [{ name: inner + "/", isFolder }, ...walk(inner + "/")] : [{ name: inner, isFolder }];
  });
}

const read = (entry) => fs.readFileSync(path.join(folder, entry.name));

const packers = {
  async archiver() {
    const { ZipArchive } = await import("archiver");
    const zip = new ZipArchive({ store: mode === "store", forceZip64: mode === "zip64" });
    if (mode === "stream") {
      for (const { name } of walk().filter((entry) => !entry.isFolder)) {
        zip.append(fs.createReadStream(path.join(folder, name)), { name });
      }
    } else {
      zip.directory(folder, false);
    }
    zip.finalize();
    await pipeline(zip, fs.createWriteStream(archive));
  },

  async yazl() {
    const { default: yazl } = await import("yazl");
    const zip = new yazl.ZipFile();
    for (const entry of walk()) {
      const file = path.join(folder, entry.name);
      const options = { forceZip64Format: mode === "zip64", compress: mode !== "store" };
      if (entry.isFolder) zip.addEmptyDirectory(entry.name);
      else if (mode === "stream") zip.addReadStream(fs.createReadStream(file), entry.name, options);
      else if (mode === "buffer") zip.addBuffer(read(entry), entry.name, options);
      else zip.addFile(file, entry.name, options);
    }
    zip.end();
    await pipeline(zip.outputStream, fs.createWriteStream(archive));
  },

  async jszip() {
    const { default: JSZip } = await import("jszip");
    const zip = new JSZip();
    for (const entry of walk()) {
      if (entry.isFolder) zip.folder(entry.name.slice(0, -1));
      else zip.file(entry.name, read(entry), { createFolders: mode !== "store" });
    }
    const options = {
      compression: mode === "store" ? "STORE" : "DEFLATE",
      streamFiles: mode === "stream",
      platform: mode === "unix" ? "UNIX" : "DOS",
      type: "nodebuffer",
    };
    fs.writeFileSync(archive, await zip.generateAsync(options));
  },

  async fflate() {
    const { zipSync, Zip, ZipDeflate } = await import("fflate");
    if (mode !== "stream") {
      const entries = walk().map((entry) => [entry.name, entry.isFolder ? new Uint8Array() : read(entry)]);
      fs.writeFileSync(archive, zipSync(Object.fromEntries(entries), { level: mode === "store" ? 0 : 6 }));
      return;
    }
    const parts = [];
    const zip = new Zip((error, part) => {
      if (error) throw error;
      parts.push(part);
    });
    for (const entry of walk().filter((entry) => !entry.isFolder)) {
      const file = new ZipDeflate(entry.name);
      zip.add(file);
      file.push(read(entry), true);
    }
    zip.end();
    fs.writeFileSync(archive, Buffer.concat(parts));
  },

  async "adm-zip"() {
    const { default: AdmZip } = await import("adm-zip");
    const zip = new AdmZip();
    if (mode === "files") {
      for (const entry of walk().filter((entry) => !entry.isFolder)) zip.addFile(entry.name, read(entry));
    } else {
      zip.addLocalFolder(folder);
    }
    zip.writeZip(archive);
  },

  async "@zip.js/zip.js"() {
    const { BlobWriter, Uint8ArrayReader, ZipWriter } = await import("@zip.js/zip.js");
    const options = { level: mode === "store" ? 0 : 6, zip64: mode === "zip64", dataDescriptor: mode !== "seek" };
    const zip = new ZipWriter(new BlobWriter(), { useWebWorkers: false, ...options });
    for (const entry of walk()) {
      if (entry.isFolder) await zip.add(entry.name, undefined, { directory: true });
      else await zip.add(entry.name, new Uint8ArrayReader(read(entry)));
    }
    const blob = await zip.close();
    fs.writeFileSync(archive, Buffer.from(await blob.arrayBuffer()));
  },
};

await packers[name]();
