// Packs a folder with .NET's System.IO.Compression: pack.exe MODE FOLDER ARCHIVE.
// PowerShell's Compress-Archive packs with it too, and older versions wrote backslashes on Windows.
using System.IO;
using System.IO.Compression;

static class Pack
{
    static void Main(string[] given)
    {
        string mode = given[0], folder = given[1], target = given[2];
        if (mode == "directory")
        {
            ZipFile.CreateFromDirectory(folder, target);
            return;
        }
        var separator = mode == "backslash" ? "\\" : "/";
        var level = mode == "store" ? CompressionLevel.NoCompression : CompressionLevel.Optimal;
        using (var stream = File.Create(target))
        using (var zip = new ZipArchive(stream, ZipArchiveMode.Create))
            foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
            {
                var name = file.Substring(folder.Length + 1).Replace("/", separator);
                zip.CreateEntryFromFile(file, name, level);
            }
    }
}
