use thiserror::Error;

use super::NameProblem;

/// Why an archive is not deployed. Nothing was written.
///
/// Entries are named as the archive has them, with the root; control characters are escaped.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("the archive is no zip: it has no end record; upload a complete zip")]
    NotAZip,
    #[error(
        "bytes follow the end of the zip, or it was cut; upload it again as it was packed (and let \
         bsdtar write to a file: what it pipes it pads)"
    )]
    TrailingBytes,
    #[error(
        "the archive has more than one end record, so that tools disagree on its contents; pack \
         it without a comment, and without joining it to another zip"
    )]
    SeveralEndRecords,
    #[error("the archive's ZIP64 end record is wrong: {0}; pack it with another tool")]
    Zip64End(&'static str),
    #[error("the archive is split over several files; pack it as one")]
    SeveralDisks,
    #[error(
        "all offsets in the archive are off by {by_bytes} bytes; if something was put in front of \
         it, correct them with `zip -A`"
    )]
    ShiftedOffsets { by_bytes: u64 },
    #[error("the central directory lies outside the archive; upload it again as it was packed")]
    DirectoryOutside,
    #[error("the archive has {count} entries; MAX_ENTRIES is {max}")]
    TooManyEntries { count: u64, max: u64 },
    #[error(
        "the archive's central directory has {size_bytes} bytes; at most {max_bytes} are read: \
         use fewer files or shorter names"
    )]
    DirectoryTooLarge { size_bytes: u64, max_bytes: u64 },
    #[error(
        "the central directory does not hold the {count} entries that the end record counts; \
         upload the archive again as it was packed"
    )]
    DirectoryMalformed { count: u64 },

    #[error("entry `{entry}`: {problem}; pack it with another tool")]
    ExtraField { entry: String, problem: &'static str },
    #[error("entry `{entry}`: its name {problem}")]
    UnsafeName { entry: String, problem: NameProblem },
    #[error(
        "entry `{entry}`: its name is not known to be UTF-8; pack with a tool that says so \
         (Python's zipfile, 7-Zip with -mcu=on, Info-ZIP on Linux)"
    )]
    NameEncoding { entry: String },
    #[error("entry `{entry}`: its Unicode path field {problem}; pack it with another tool")]
    UnicodePath { entry: String, problem: &'static str },
    #[error("entry `{entry}`: its name has {length_bytes} bytes, a key has room for {max_bytes}")]
    NameTooLong { entry: String, length_bytes: usize, max_bytes: usize },
    #[error("entry `{entry}` is in the archive twice; pack it into a new file")]
    DuplicateName { entry: String },
    #[error("`{entry}` is a file and a folder; rename one of them")]
    FileAndFolder { entry: String },
    #[error(
        "entry `{entry}` is a symbolic link or another special file; pack what it points to \
         (`zip` does so without -y)"
    )]
    SpecialFile { entry: String },
    #[error(
        "entry `{entry}`: its name, attributes and size disagree on whether it is a folder; pack \
         it with another tool"
    )]
    FolderMismatch { entry: String },
    #[error("entry `{entry}` is encrypted; pack it without a password")]
    Encrypted { entry: String },
    #[error(
        "entry `{entry}` is compressed by method {method}; only stored (0), deflate (8) and zstd \
         (93) are read: pack it by one of them"
    )]
    UnsupportedMethod { entry: String, method: u16 },
    #[error("entry `{entry}`: its sizes are impossible for its compression; pack it anew")]
    ImpossibleSizes { entry: String },
    #[error("entry `{entry}` expands {ratio} times; MAX_RATIO is {max}: raise it if that is right")]
    RatioTooHigh { entry: String, ratio: u64, max: u64 },
    #[error("the archive expands to over {max_bytes} bytes (MAX_ARCHIVE_BYTES)")]
    ExpandsTooFar { max_bytes: u64 },
    #[error("entry `{entry}` lies on another disk of a split archive; pack it as one file")]
    OtherDisk { entry: String },
    #[error("entry `{entry}` reaches outside the archive; upload it again as it was packed")]
    SpanOutside { entry: String },
    #[error("entry `{entry}` overlaps what comes after it; the archive is broken or a zip bomb")]
    SpanOverlap { entry: String },
    #[error(
        "entry `{entry}` is followed by bytes that belong to no entry; pack the archive into a \
         new file"
    )]
    UnclaimedBytes { entry: String },
    #[error("entry `{entry}`: its local header {problem}; pack the archive into a new file")]
    LocalHeader { entry: String, problem: &'static str },
    #[error(
        "entry `{entry}`: its data descriptor disagrees with the central directory; pack the \
         archive into a new file"
    )]
    Descriptor { entry: String },
    #[error("entry `{entry}`: its local header was not read as a whole; retry the deployment")]
    LocalHeaderCut { entry: String },

    #[error("entry `{entry}` is the archive itself, so that whoever unpacks what is unpacked never ends; leave it out")]
    Quine { entry: String },

    #[error("the archive has no file to deploy; pack the build's output")]
    Empty,
    #[error("the archive has no file under ARCHIVE_ROOT `{root}`; correct one of them")]
    RootNotFound { root: String },
}
