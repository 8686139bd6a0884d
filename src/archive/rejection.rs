use thiserror::Error;

use super::{NameProblem, memory_mib_for};

/// Why an archive is not deployed; nothing was written.
///
/// Messages name an entry as the archive does, with the root; control characters are escaped.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("the archive is not a zip, or its end is missing (it has no end record); upload a complete zip")]
    NotAZip,
    #[error("{name} is {format}; dropship takes zip files, so pack the contents of the site's folder as a zip")]
    OtherFormat { name: String, format: &'static str },
    #[error(
        "the archive is a zip, but its last 64 KiB have no end record: it was cut short, or bytes follow its end; upload \
         it again, exactly as it was packed"
    )]
    CutOff,
    #[error("bytes follow the end of the zip, or its end was cut off; upload it exactly as it was packed")]
    TrailingBytes,
    #[error(
        "the archive has more than one end record, and tools disagree on which one counts; pack it without a comment, \
         and do not join it to another zip"
    )]
    SeveralEndRecords,
    #[error("the archive's ZIP64 end record is invalid: {0}; pack the archive into a file, or with another tool")]
    Zip64End(&'static str),
    #[error("the archive is split over several files; pack it as one file")]
    SeveralDisks,
    #[error(
        "all offsets in the archive are off by {by_bytes} bytes; pack the archive again or, if something was put in \
         front of it on purpose, correct the offsets with `zip -A`"
    )]
    ShiftedOffsets { by_bytes: u64 },
    #[error("the central directory lies outside the archive; upload the archive exactly as it was packed")]
    DirectoryOutside,
    #[error(
        "the archive has {count} entries, more than MaxEntries allows (MAX_ENTRIES, {max}); deploy fewer files, or \
         raise it if the number is right"
    )]
    TooManyEntries { count: u64, max: u64 },
    #[error(
        "the archive's central directory has {size_bytes} bytes, and the function's memory has room for {max_bytes}; \
         raise MemorySize to at least {} MiB, or use fewer files or shorter names",
        memory_mib_for(*.size_bytes)
    )]
    DirectoryTooLarge { size_bytes: u64, max_bytes: u64 },
    #[error(
        "the central directory does not hold the {count} entries that the end record counts; upload the archive \
         exactly as it was packed"
    )]
    DirectoryMalformed { count: u64 },

    #[error("entry `{entry}`: {problem}; pack the archive with another tool")]
    ExtraField { entry: String, problem: &'static str },
    #[error("entry `{entry}`: its name {problem}")]
    UnsafeName { entry: String, problem: NameProblem },
    #[error(
        "entry `{entry}`: its name is not UTF-8, or not marked as UTF-8; pack with a tool that writes UTF-8 names \
         (Python's zipfile, 7-Zip with -mcu=on, Info-ZIP on Linux, `tar` of Windows with --options hdrcharset=UTF-8)"
    )]
    NameEncoding { entry: String },
    #[error("entry `{entry}`: its Unicode path field {problem}; pack the archive with another tool")]
    UnicodePath { entry: String, problem: &'static str },
    #[error("entry `{entry}`: its name has {length_bytes} bytes, but an S3 key has room for {max_bytes}; shorten it")]
    NameTooLong { entry: String, length_bytes: usize, max_bytes: usize },
    #[error(
        "entry `{entry}` is in `previews/`, which belongs to the previews of this stack (Previews=true): rename the \
         folder, or leave it out with Exclude=/previews/"
    )]
    InFolderOfPreviews { entry: String },
    #[error("entry `{entry}` is in the archive twice; pack the archive into a new file")]
    DuplicateName { entry: String },
    #[error("`{entry}` is both a file and a folder; rename one of them")]
    FileAndFolder { entry: String },
    #[error(
        "entry `{entry}` is a symbolic link or another special file; pack a copy in which files replace the links \
         (`cp -RL dist copy`; `zip` without -y also follows them), or leave it out with Exclude"
    )]
    SpecialFile { entry: String },
    #[error(
        "entry `{entry}`: its name, attributes and size disagree on whether it is a folder; pack the archive with \
         another tool"
    )]
    FolderMismatch { entry: String },
    #[error("entry `{entry}` is encrypted; pack the archive without a password")]
    Encrypted { entry: String },
    #[error(
        "entry `{entry}` uses compression method {method}{}, but only stored (0), deflate (8) and zstd (93) are read; \
         pack it with one of these: deflate is the default of nearly every tool",
        method_name(*.method)
    )]
    UnsupportedMethod { entry: String, method: u16 },
    #[error("entry `{entry}`: its sizes are impossible for its compression method; pack the archive again")]
    ImpossibleSizes { entry: String },
    #[error(
        "entry `{entry}` expands {ratio} times, more than MaxRatio allows (MAX_RATIO, {max}); raise it if that is right"
    )]
    RatioTooHigh { entry: String, ratio: u64, max: u64 },
    #[error(
        "the archive expands to more than MaxArchiveBytes allows (MAX_ARCHIVE_BYTES, {max_bytes}); deploy less, or \
         raise it if the size is right"
    )]
    ExpandsTooFar { max_bytes: u64 },
    #[error("entry `{entry}` lies on another disk of a split archive; pack the archive as one file")]
    OtherDisk { entry: String },
    #[error("entry `{entry}` reaches outside the archive; upload the archive exactly as it was packed")]
    SpanOutside { entry: String },
    #[error(
        "entry `{entry}` overlaps the bytes that follow it, so the archive is broken or a zip bomb; pack the archive \
         again"
    )]
    SpanOverlap { entry: String },
    #[error("entry `{entry}` is followed by bytes that belong to no entry; pack the archive into a new file")]
    UnclaimedBytes { entry: String },
    #[error("entry `{entry}`: its local header is wrong: {problem}; pack the archive into a new file")]
    LocalHeader { entry: String, problem: &'static str },
    #[error(
        "entry `{entry}`: its data descriptor disagrees with the central directory; pack the archive into a new file"
    )]
    Descriptor { entry: String },
    #[error("entry `{entry}`: its local header was not read completely; retry the deployment")]
    LocalHeaderCut { entry: String },

    /// Several entries have faults; the text has them all.
    #[error("{0}")]
    Several(String),

    #[error("entry `{entry}` is the archive itself, so unpacking it would never end; leave it out of the archive")]
    Quine { entry: String },

    #[error("the archive has no file to deploy; pack the build's output")]
    Empty,
    #[error(
        "Exclude, or what is left out without it, leaves no file to deploy (files left out: {left_out}); correct \
         Exclude, or pack the build's output"
    )]
    AllLeftOut { left_out: u64 },
    #[error("the archive has no file under ArchiveRoot (ARCHIVE_ROOT `{root}`); correct it, or pack that folder")]
    RootNotFound { root: String },
}

impl Rejection {
    /// Whether the archive's end is not that of a zip which is alone in its file, so that the file may be another thing.
    pub fn is_of_end(&self) -> bool {
        matches!(
            self,
            Self::NotAZip
                | Self::TrailingBytes
                | Self::SeveralEndRecords
                | Self::Zip64End(_)
                | Self::SeveralDisks
                | Self::ShiftedOffsets { .. }
                | Self::DirectoryOutside
                | Self::DirectoryMalformed { .. }
        )
    }

    /// Returns the name of the entry, if the fault is of this entry alone, so that others may be looked for.
    pub(super) fn faulty_entry(&mut self) -> Option<&mut String> {
        match self {
            Self::UnsafeName { entry, .. }
            | Self::NameEncoding { entry }
            | Self::UnicodePath { entry, .. }
            | Self::NameTooLong { entry, .. }
            | Self::DuplicateName { entry }
            | Self::FileAndFolder { entry }
            | Self::SpecialFile { entry }
            | Self::FolderMismatch { entry }
            | Self::Encrypted { entry }
            | Self::UnsupportedMethod { entry, .. } => Some(entry),
            _ => None,
        }
    }
}

/// Returns what the packers call a compression method (APPNOTE 4.4.5), in parentheses.
fn method_name(method: u16) -> &'static str {
    match method {
        8 => " (deflate) as a patch to another file",
        9 => " (Deflate64)",
        12 => " (bzip2)",
        14 => " (LZMA)",
        95 => " (XZ)",
        98 => " (PPMd)",
        _ => "",
    }
}
