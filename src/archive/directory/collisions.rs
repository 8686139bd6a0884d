//! Names that cannot be deployed together.

use super::super::faults::Faults;
use super::super::{Entry, Rejection};

/// Adds two entries of one name, and a file that is also a folder, to the faults; `entries` are sorted by name.
pub(super) fn find(entries: &[Entry], folders: &[Box<str>], faults: &mut Faults) -> Result<(), Rejection> {
    find_files(entries, faults)?;
    for folder in folders {
        if let Ok(at) = entries.binary_search_by(|entry| entry.name.cmp(folder)) {
            faults.add(file_and_folder(&entries[at]))?;
        }
    }
    Ok(())
}

fn find_files(entries: &[Entry], faults: &mut Faults) -> Result<(), Rejection> {
    // Sorting puts all names with a common start next to each other. So it is enough to keep the
    // names that the current one starts with, each longer than the one before.
    let mut starts: Vec<Start<'_>> = Vec::new();
    for entry in entries {
        let name = &*entry.name;
        while starts.pop_if(|start| !name.starts_with(&*start.entry.name)).is_some() {}
        if let Some(start) = starts.last_mut().filter(|start| start.entry.name.len() == name.len()) {
            if !start.is_told {
                faults.add(Rejection::DuplicateName { entry: entry.display_name() })?;
            }
            start.is_told = true;
            continue;
        }
        for start in &mut starts {
            if name.as_bytes()[start.entry.name.len()] == b'/' && !start.is_told {
                faults.add(file_and_folder(start.entry))?;
                start.is_told = true;
            }
        }
        starts.push(Start { entry, is_told: false });
    }
    Ok(())
}

/// A file whose name may be the start of the next ones.
struct Start<'a> {
    entry: &'a Entry,
    /// Whether it is a fault already, which is told once.
    is_told: bool,
}

fn file_and_folder(entry: &Entry) -> Rejection {
    Rejection::FileAndFolder { entry: entry.display_name() }
}
