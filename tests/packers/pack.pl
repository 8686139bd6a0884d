# Packs a folder with Perl: perl pack.pl MODULE MODE FOLDER ARCHIVE.
use strict;
use warnings;
use File::Find;

my ($module, $mode, $folder, $archive) = @ARGV;
if ($module eq 'Archive::Zip') { archive_zip() } else { io_compress() }

sub archive_zip {
    require Archive::Zip;
    my $zip = Archive::Zip->new();
    # Archive::Zip's constants are zero for success and for "stored".
    $zip->addTree($folder, '') == 0 or die "cannot add $folder";
    if ($mode eq 'store') { $_->desiredCompressionMethod(0) for $zip->members }
    if ($mode eq 'zip64') { $zip->desiredZip64Mode(1) }
    if ($mode eq 'pipe') {
        open my $pipe, '|-', "cat >'$archive'" or die $!;
        $zip->writeToFileHandle($pipe, 0) == 0 or die "cannot write $archive";
        close $pipe or die $!;
    } else {
        $zip->writeToFileNamed($archive) == 0 or die "cannot write $archive";
    }
}

sub io_compress {
    require IO::Compress::Zip;
    my @files;
    find({ wanted => sub { push @files, $File::Find::name if -f }, no_chdir => 1, follow_fast => 1 }, $folder);
    my %options = (
        FilterName => sub { s{^\Q$folder\E/}{} },
        CanonicalName => 0,
        Efs => $mode eq 'utf8',
        Stream => $mode eq 'stream',
        Zip64 => $mode eq 'zip64',
        Minimal => $mode eq 'minimal',
        Method => $mode eq 'store' ? IO::Compress::Zip::ZIP_CM_STORE() : IO::Compress::Zip::ZIP_CM_DEFLATE(),
    );
    IO::Compress::Zip::zip([sort @files] => $archive, %options) or die $IO::Compress::Zip::ZipError;
}
