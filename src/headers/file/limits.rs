//! The limits of a `_headers` file.
//!
//! They bound the memory that the rules take and the work for one file of the build. Headers that S3 does not store
//! count towards none of them. Cloudflare Pages allows 100 rules, and 2,000 characters a line (Cloudflare Pages
//! documentation, "Headers").

pub(super) const MAX_RULES: usize = 2_000;

/// How many lines may set or remove a header that S3 stores.
pub(super) const MAX_STORED_HEADERS: usize = 20_000;

/// A longer value would not fit into what S3 stores with an object.
pub(super) const MAX_LINE_CHARACTERS: usize = 2_000;

/// S3 stores 2 KB of user metadata with an object, names included.
pub(super) const MAX_METADATA_NAMES: usize = 100;

/// How many steps the rules may take for a file, on average: 100,000 files then take less than a second.
pub(super) const MAX_STEPS_PER_FILE: usize = 1_200;

/// A build with fewer files may take as long as one with this number.
pub(super) const MIN_FILES: usize = 100_000;

/// The steps to give a file a header, and each value of it.
pub(super) const STEPS_PER_HEADER: usize = 30;
pub(super) const STEPS_PER_VALUE: usize = 4;

/// How many values and wildcards in them a file may get. Sites need at most ten.
pub(super) const MAX_VALUES: usize = 100;
