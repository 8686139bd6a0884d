//! A plan by folders: how many objects it would touch where, and how large they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most folders of a plan.
const MAX_FOLDERS: usize = 20;

/// The touched objects of one folder, with those of the folders in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedFolder {
    /// Ends in `/`; empty for the whole bucket, and for files outside of folders.
    pub folder: String,
    pub new: Objects,
    pub changed: Objects,
    pub headers: Objects,
    pub deleted: Objects,
}

/// A number of objects, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    pub count: usize,
    pub bytes: u64,
}

/// The fate of an object in a plan.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    New,
    Changed,
    Headers,
    Deleted,
}

impl PlannedFolder {
    fn count(&mut self, fate: Fate, bytes: u64) {
        let objects = match fate {
            Fate::New => &mut self.new,
            Fate::Changed => &mut self.changed,
            Fate::Headers => &mut self.headers,
            Fate::Deleted => &mut self.deleted,
        };
        objects.count += 1;
        objects.bytes += bytes;
    }
}

/// Groups objects by their folders, as deep as twenty of them allow.
pub fn by_folder(touched: &[(&str, Fate, u64)]) -> Vec<PlannedFolder> {
    let mut folders = at_depth(touched, 0);
    for depth in 1.. {
        let deeper = at_depth(touched, depth);
        if deeper.len() > MAX_FOLDERS || deeper.keys().eq(folders.keys()) {
            break;
        }
        folders = deeper;
    }
    folders.into_values().collect()
}

fn at_depth<'k>(touched: &[(&'k str, Fate, u64)], depth: usize) -> BTreeMap<&'k str, PlannedFolder> {
    let mut folders: BTreeMap<&str, PlannedFolder> = BTreeMap::new();
    for &(key, fate, bytes) in touched {
        let end = key.match_indices('/').take(depth).last().map_or(0, |(at, _)| at + 1);
        let name = &key[..end];
        let folder =
            folders.entry(name).or_insert_with(|| PlannedFolder { folder: name.to_owned(), ..Default::default() });
        folder.count(fate, bytes);
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folders: &[PlannedFolder]) -> Vec<&str> {
        folders.iter().map(|folder| folder.folder.as_str()).collect()
    }

    #[test]
    fn folders_are_as_deep_as_their_number_allows() {
        let wide: Vec<String> = (0..30).map(|number| format!("docs/v{number}/a.html")).collect();
        let mut touched: Vec<(&str, Fate, u64)> = wide.iter().map(|key| (key.as_str(), Fate::New, 1)).collect();
        touched.push(("assets/css/site.css", Fate::Changed, 10));
        touched.push(("index.html", Fate::Deleted, 5));
        let folders = by_folder(&touched);
        assert_eq!(names(&folders), ["", "assets/", "docs/"]);
        assert_eq!(folders[2].new, Objects { count: 30, bytes: 30 });
        assert_eq!((folders[1].changed.bytes, folders[0].deleted.count), (10, 1));

        let few = by_folder(&touched[28..]);
        assert_eq!(names(&few), ["", "assets/css/", "docs/v28/", "docs/v29/"]);
    }

    #[test]
    fn more_top_folders_than_fit_are_one() {
        let wide: Vec<String> = (0..30).map(|number| format!("v{number}/a.html")).collect();
        let touched: Vec<(&str, Fate, u64)> = wide.iter().map(|key| (key.as_str(), Fate::Headers, 2)).collect();
        let folders = by_folder(&touched);
        assert_eq!(names(&folders), [""]);
        assert_eq!(folders[0].headers, Objects { count: 30, bytes: 60 });
        assert_eq!(by_folder(&[]), []);
    }

    /// Every object is counted once, at every depth.
    #[test]
    fn no_object_is_lost() {
        let keys = ["a", "a/b", "a/b/c", "//x", "b/é/d"];
        let touched: Vec<(&str, Fate, u64)> = keys.iter().map(|key| (*key, Fate::New, 1)).collect();
        assert_eq!(by_folder(&touched).iter().map(|folder| folder.new.count).sum::<usize>(), keys.len());
    }
}
