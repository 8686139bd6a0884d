//! The limits of a `_headers` file.

/// Cloudflare Pages allows 100 rules (Cloudflare Pages documentation, "Headers").
pub(super) const MAX_RULES: usize = 100;

/// Cloudflare Pages allows 2,000 characters a line (Cloudflare Pages documentation, "Headers").
pub(super) const MAX_LINE_CHARACTERS: usize = 2_000;
