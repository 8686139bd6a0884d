//! Test data that is not part of the project.

use std::path::PathBuf;

use crate::note::note;

/// Returns two releases of a real site as archives, the older one first, or `None` if they are missing.
pub fn releases() -> Option<[Vec<u8>; 2]> {
    let folder = shared("sites")?;
    Some(["streamlit-1.48.0.zip", "streamlit-1.48.1.zip"].map(|name| std::fs::read(folder.join(name)).unwrap()))
}

/// Returns a path in the shared data, or prints a note and returns `None` if it does not exist.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var("DROPSHIP_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let path = PathBuf::from(folder).join(path);
    if !path.exists() {
        let path = path.display();
        note(&format!("SKIPPED: {path} does not exist; DROPSHIP_SHARED names the folder"));
        return None;
    }
    Some(path)
}
