//! Names that are deployed as they are, but are probably a mistake.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::super::Entry;

/// Returns the warnings about these entries, which are sorted by name.
pub(super) fn warnings(entries: &[Entry]) -> Vec<String> {
    normalisation_warning(entries).into_iter().chain(other_host_warning(entries)).collect()
}

/// Warns of files that are left out because no site shows them on purpose; `names` are as messages show them.
pub(super) fn private_warning(names: &[String]) -> Option<String> {
    let names = first_names(names)?;
    Some(format!(
        "private files are left out: {names}; to deploy one of them, add `!` and its name to Exclude, such as \
         `!.env.example`, or the name of its folder, such as `!.git/`"
    ))
}

/// Files at the root by which other hosts are configured.
const OF_OTHER_HOSTS: [&str; 12] = [
    ".htaccess",
    ".htpasswd",
    "_redirects",
    "_routes.json",
    "_worker.js",
    "firebase.json",
    "netlify.toml",
    "now.json",
    "staticwebapp.config.json",
    "vercel.json",
    "web.config",
    "wrangler.toml",
];

/// Warns of files that do nothing on S3 and CloudFront.
fn other_host_warning(entries: &[Entry]) -> Option<String> {
    let is_there = |name: &&str| entries.binary_search_by(|entry| (*entry.name).cmp(*name)).is_ok();
    let names: Vec<String> = OF_OTHER_HOSTS.iter().copied().filter(is_there).map(str::to_owned).collect();
    let names = first_names(&names)?;
    Some(format!(
        "these files configure other hosts and are deployed like any other file, since neither S3 nor CloudFront reads \
         them: {names}; write redirects in a function of the distribution, and leave the files out with Exclude"
    ))
}

/// Returns up to ten names for a sentence, and how many more there are.
fn first_names(names: &[String]) -> Option<String> {
    let first: Vec<String> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
    let more = names.len() - first.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!first.is_empty()).then(|| format!("{}{rest}", first.join(", ")))
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
