//! Private keys among the files that a plan writes.

use futures_util::stream::{self, StreamExt};

use crate::archive::Entry;
use crate::aws::archive::Archive;
use crate::cut;
use crate::plan::Put;

/// A key of RSA with 16,384 bits takes 13 KB as PEM.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// How many files are looked into, at most.
const MAX_FILES: usize = 20;

/// Warns of files that look like private keys by their names, and have one. Files that are not written are not read.
pub(super) async fn warning(archive: &Archive, puts: &[Put<'_>]) -> Option<String> {
    let entries = puts.iter().map(|put| put.entry).filter(|entry| may_be_key(entry));
    let found: Vec<String> = stream::iter(entries.take(MAX_FILES))
        .map(|entry| async move {
            // If it cannot be read, the preflight says so.
            let contents = archive.read_small(entry).await.ok()?;
            has_private_key(&contents).then(|| format!("`{}`", entry.display_name()))
        })
        .buffered(MAX_FILES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    (!found.is_empty()).then(|| {
        format!(
            "private keys are deployed, for everyone to read: {}; take them out of the site, and replace them",
            cut::sentence(&found)
        )
    })
}

fn may_be_key(entry: &Entry) -> bool {
    let name = entry.name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let is_named_so = matches!(&*name, "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519")
        || [".pem", ".key"].iter().any(|ending| name.ends_with(ending));
    is_named_so && entry.size_bytes <= MAX_KEY_BYTES
}

/// Whether a text has a private key in PEM (RFC 7468), as OpenSSL and OpenSSH write it.
fn has_private_key(contents: &[u8]) -> bool {
    let text = String::from_utf8_lossy(contents);
    text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY"))
}
