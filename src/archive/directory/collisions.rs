//! Names that cannot be deployed together.

use super::super::{Entry, Rejection};

/// Refuses two entries of one name, and a file that is also a folder; `entries` are sorted by name.
pub(super) fn check(entries: &[Entry], folders: &[Box<str>]) -> Result<(), Rejection> {
    check_files(entries)?;
    for folder in folders {
        if let Ok(at) = entries.binary_search_by(|entry| entry.name.cmp(folder)) {
            return Err(file_and_folder(&entries[at]));
        }
    }
    Ok(())
}

fn check_files(entries: &[Entry]) -> Result<(), Rejection> {
    // Sorting puts all names with a common start next to each other. So it is enough to keep the
    // names that the current one starts with, each longer than the one before.
    let mut starts: Vec<&Entry> = Vec::new();
    for entry in entries {
        let name = &*entry.name;
        while starts.pop_if(|start| !name.starts_with(&*start.name)).is_some() {}
        for start in &starts {
            match name.as_bytes().get(start.name.len()) {
                None => return Err(Rejection::DuplicateName { entry: entry.display_name() }),
                Some(b'/') => return Err(file_and_folder(start)),
                Some(_) => {}
            }
        }
        starts.push(entry);
    }
    Ok(())
}

fn file_and_folder(entry: &Entry) -> Rejection {
    Rejection::FileAndFolder { entry: entry.display_name() }
}
