<?php
// Packs a folder with PHP's ZipArchive: php pack.php MODE FOLDER ARCHIVE.
[, $mode, $folder, $archive] = $argv;
$zip = new ZipArchive();
$zip->open($archive, ZipArchive::CREATE | ZipArchive::OVERWRITE) === true or exit(1);
$flags = FilesystemIterator::SKIP_DOTS | FilesystemIterator::FOLLOW_SYMLINKS;
$paths = new RecursiveIteratorIterator(
    new RecursiveDirectoryIterator($folder, $flags),
    RecursiveIteratorIterator::SELF_FIRST
);
foreach ($paths as $path) {
    $name = substr($path->getPathname(), strlen($folder) + 1);
    if ($path->isDir()) {
        $zip->addEmptyDir($name);
        continue;
    }
    // What is added as a string has no mode.
    $mode === 'string' ? $zip->addFromString($name, file_get_contents($path)) : $zip->addFile($path, $name);
    if ($mode === 'store') {
        $zip->setCompressionName($name, ZipArchive::CM_STORE);
    }
    if ($mode === 'encrypt') {
        $zip->setEncryptionName($name, ZipArchive::EM_AES_256, 'secret');
    }
}
$zip->close() or exit(1);
