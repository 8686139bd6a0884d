//! Names that are deployed as they are, but are probably a mistake.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::super::Entry;

/// Returns the warnings about these entries, which are sorted by name.
pub(super) fn warnings(entries: &[Entry], has_headers_file: bool, root: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    // A `_headers` file at the root, or a root that was chosen, shows that the folder is meant.
    if root.is_empty() && !has_headers_file {
        warnings.extend(wrapper_folder_warning(entries));
    }
    warnings.extend(normalisation_warning(entries));
    warnings
}

fn wrapper_folder_warning(entries: &[Entry]) -> Option<String> {
    let folder = wrapper_folder(entries)?;
    Some(format!(
        "all files are in the folder `{folder}` and none is at the root; to deploy the folder's contents, set \
         ARCHIVE_ROOT to `{folder}`"
    ))
}

/// Returns the one top folder that contains everything, with its slash.
fn wrapper_folder(entries: &[Entry]) -> Option<&str> {
    // Sorted: if the first and the last share a folder, all do.
    let first = &entries.first()?.name;
    let (folder, _) = first.split_at(first.find('/')? + 1);
    entries.last()?.name.starts_with(folder).then_some(folder)
}

/// Warns of names that differ only in how their accents are composed.
///
/// They look the same, and a browser asks for the one that was typed in the link.
fn normalisation_warning(entries: &[Entry]) -> Option<String> {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let mut names: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.name.is_ascii())
        .map(|entry| (nfc.normalize(&entry.name), entry))
        .collect();
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut twins = names.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let twin = twins.next()?[0].1.display_name();
    Some(match twins.count() {
        0 => {
            format!("`{twin}` exists twice, in different Unicode normalisation forms; a link reaches only one of them")
        }
        more => format!(
            "`{twin}` and {more} other names exist twice, in different Unicode normalisation forms; a link reaches \
             only one of each"
        ),
    })
}
