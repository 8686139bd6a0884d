//! The limits of a `_headers` file.
//!
//! They bound the memory that the rules take and the work for one file of the build. Headers that S3 does not store
//! count towards none of them. Cloudflare Pages allows 100 rules, and 2,000 characters a line (Cloudflare Pages
//! documentation, "Headers").

pub(super) const MAX_RULES: usize = 2_000;

/// A longer value would not fit into what S3 stores with an object.
pub(super) const MAX_LINE_CHARACTERS: usize = 2_000;

/// S3 stores 2 KB of user metadata with an object, names included.
pub(super) const MAX_METADATA_NAMES: usize = 100;

/// How many texts may be sought in all names for rules that the index does not decide, such as `/:year-:month`. These
/// rules are matched one by one: 100 of them with every name of 100,000, or 2,000 with 5,000 names.
pub(super) const MAX_EFFORT: usize = 50_000_000;

/// How many values and wildcards in them a file may get. Sites need at most ten.
pub(super) const MAX_VALUES: usize = 100;
