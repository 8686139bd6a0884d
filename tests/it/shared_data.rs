//! Data that is not part of the project.

use std::path::PathBuf;

use crate::note::note;

/// Data that is not part of the project; none, said aloud, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var("DROPSHIP_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let path = PathBuf::from(folder).join(path);
    if !path.exists() {
        let path = path.display();
        note(&format!("SKIPPED: {path} is not there (DROPSHIP_SHARED)"));
        return None;
    }
    Some(path)
}
