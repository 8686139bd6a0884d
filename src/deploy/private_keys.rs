//! Private keys among the files that a plan writes.

use futures_util::stream::{self, StreamExt};

use crate::archive::Entry;
use crate::aws::archive::Archive;
use crate::cut;
use crate::plan::Put;

/// A key of RSA with 16,384 bits takes 13 KB as PEM.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// How many files are looked into, at most, and how many at the same time.
const MAX_FILES: usize = 100;
const AT_ONCE: usize = 20;

/// The names that OpenSSH gives to keys (`ssh-keygen(1)`).
const OPENSSH: [&str; 7] = ["id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss"];

/// The endings of other keys. Most files that end in `.pem` are certificates.
const ENDINGS: [&str; 5] = [".key", ".p8", ".pk8", ".ppk", ".pem"];

/// Warns of files that look like private keys by their names, and have one. Files that are not written are not read.
pub(super) async fn warning(archive: &Archive, puts: &[Put<'_>]) -> Option<String> {
    let ranked = puts.iter().filter_map(|put| Some((rank(put.entry)?, put.entry)));
    let mut candidates: Vec<(usize, &Entry)> = ranked.collect();
    candidates.sort_by_key(|(rank, _)| *rank);
    let mut found: Vec<String> = stream::iter(candidates.into_iter().take(MAX_FILES))
        .map(|(_, entry)| async move {
            // If it cannot be read, the preflight says so.
            let contents = archive.read_small(entry).await.ok()?;
            has_private_key(&contents).then(|| format!("`{}`", entry.display_name()))
        })
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    found.sort();
    (!found.is_empty()).then(|| {
        format!(
            "private keys are deployed, for everyone to read: {}; take them out of the site, and replace them",
            cut::sentence(&found)
        )
    })
}

/// Returns the place of a file that may be a private key among all of these, the likeliest first; `None` for other files.
fn rank(entry: &Entry) -> Option<usize> {
    let name = entry.name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let rank = match &*name {
        name if OPENSSH.contains(&name) => Some(0),
        name => ENDINGS.iter().position(|ending| name.ends_with(ending)).map(|at| at + 1),
    };
    rank.filter(|_| entry.size_bytes <= MAX_KEY_BYTES)
}

/// Whether a text has a private key in PEM (RFC 7468), as OpenSSL and OpenSSH write it, or in the format of `PuTTY`.
fn has_private_key(contents: &[u8]) -> bool {
    let text = String::from_utf8_lossy(contents);
    let mut lines = text.lines().map(|line| line.trim_start_matches('\u{feff}').trim_start());
    lines.any(|line| {
        (line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY")) || line.starts_with("PuTTY-User-Key-File-")
    })
}
