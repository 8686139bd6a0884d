// Packs a folder with Go's archive/zip: go run pack.go MODE FOLDER ARCHIVE.
package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	mode, folder, archive := os.Args[1], os.Args[2], os.Args[3]
	target, err := os.Create(archive)
	check(err)
	writer := zip.NewWriter(target)
	check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		check(err)
		if path != folder {
			add(writer, mode, folder, path, entry)
		}
		return nil
	}))
	check(writer.Close())
	check(target.Close())
}

func add(writer *zip.Writer, mode, folder, path string, entry fs.DirEntry) {
	info, err := entry.Info()
	check(err)
	header, err := zip.FileInfoHeader(info)
	check(err)
	header.Name, err = filepath.Rel(folder, path)
	check(err)
	if entry.IsDir() {
		header.Name += "/"
		_, err = writer.CreateHeader(header)
		check(err)
		return
	}
	body := contents(path, entry)
	switch mode {
	case "raw":
		addRaw(writer, header, body)
	case "plain":
		file, err := writer.Create(header.Name) // without mode and time
		check(err)
		_, err = file.Write(body)
		check(err)
	default:
		if mode == "deflate" {
			header.Method = zip.Deflate
		}
		file, err := writer.CreateHeader(header)
		check(err)
		_, err = file.Write(body)
		check(err)
	}
}

// Returns the contents of a file, or the target of a symbolic link.
func contents(path string, entry fs.DirEntry) []byte {
	if entry.Type()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(path)
		check(err)
		return []byte(link)
	}
	body, err := os.ReadFile(path)
	check(err)
	return body
}

// Adds a file whose sizes and CRC-32 are in its local header, with no data descriptor.
func addRaw(writer *zip.Writer, header *zip.FileHeader, body []byte) {
	var compressed bytes.Buffer
	deflate, err := flate.NewWriter(&compressed, flate.DefaultCompression)
	check(err)
	_, err = deflate.Write(body)
	check(err)
	check(deflate.Close())
	header.Method = zip.Deflate
	header.CRC32 = crc32.ChecksumIEEE(body)
	header.UncompressedSize64 = uint64(len(body))
	header.CompressedSize64 = uint64(compressed.Len())
	file, err := writer.CreateRaw(header)
	check(err)
	_, err = file.Write(compressed.Bytes())
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
