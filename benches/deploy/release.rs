//! Real releases of a site, from the folder that `DROPSHIP_SHARED` names.

use std::error::Error;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;

/// Returns the path of a real release, which may not exist.
pub fn release(version: &str) -> Option<PathBuf> {
    let shared = PathBuf::from(std::env::var_os("DROPSHIP_SHARED")?);
    Some(shared.join(format!("sites/streamlit-{version}.zip")))
}

/// Reads a real release.
///
/// # Errors
/// If `DROPSHIP_SHARED` is not set, or the release cannot be read.
pub fn read_release(version: &str) -> Result<Bytes, Box<dyn Error>> {
    let path = release(version).ok_or("DROPSHIP_SHARED is not set")?;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
