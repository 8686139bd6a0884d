//! The tags of each stale path and live object.

use super::Tags;
use crate::invalidation::chosen_tags::ChosenTags;
use crate::invalidation::inventory::Inventory;
use crate::invalidation::target::Need;
use crate::invalidation::{ByPhase, Phase};

/// Wildcards are scarce, so a path that takes one weighs as much as this many exact items.
const WILDCARD_WEIGHT: usize = 10;

/// One tag, sent in one phase.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct TagInPhase {
    /// The index of the tag among the sorted names.
    pub(super) tag: usize,
    pub(super) phase: Phase,
}

/// The tags of every stale path and live object, in both directions.
///
/// Tags, stale paths and live objects are indices: into `names`, [`Inventory::stale`] and [`Inventory::live`]'s keys.
pub(super) struct TagIndex<'a> {
    pub(super) inventory: &'a Inventory<'a>,
    names: Vec<&'a str>,
    /// For each stale path.
    tags_of_paths: ByPhase<Vec<Option<[usize; 2]>>>,
    /// For each live object.
    tags_of_objects: Vec<Option<[usize; 2]>>,
    /// For each tag, the stale paths that it covers.
    paths_of_tags: ByPhase<Vec<Vec<usize>>>,
    /// For each tag, the live objects that it evicts.
    objects_of_tags: Vec<Vec<usize>>,
}

impl<'a> TagIndex<'a> {
    pub(super) fn new(inventory: &'a Inventory<'a>, tags: &'a Tags<'_>) -> Self {
        let names = tags.names();
        let stale = inventory.stale.each_ref();
        let tags_of_paths = stale.map(|paths| tags.of_keys(paths.iter().map(|path| path.sole_key)));
        let tags_of_objects = tags.of_keys(inventory.live.keys.iter().map(|key| Some(*key)));
        Self {
            paths_of_tags: tags_of_paths.each_ref().map(|tags| by_tag(tags, names.len())),
            objects_of_tags: by_tag(&tags_of_objects, names.len()),
            inventory,
            names,
            tags_of_paths,
            tags_of_objects,
        }
    }

    pub(super) fn tag_count(&self) -> usize {
        self.names.len()
    }

    /// Returns how much it is worth to cover a stale path by a tag.
    pub(super) fn weight(&self, phase: Phase, path: usize) -> usize {
        match self.inventory.stale[phase as usize][path].need {
            Need::Nothing => 0,
            Need::ExactItems { items, wildcards } => usize::from(items) + usize::from(wildcards) * WILDCARD_WEIGHT,
            Need::Wildcard => WILDCARD_WEIGHT,
        }
    }

    pub(super) fn covered_paths(&self, tag: TagInPhase) -> &[usize] {
        &self.paths_of_tags[tag.phase as usize][tag.tag]
    }

    pub(super) fn evicted_objects(&self, tag: usize) -> &[usize] {
        &self.objects_of_tags[tag]
    }

    pub(super) fn tags_of_path(&self, phase: Phase, path: usize) -> impl Iterator<Item = usize> + use<> {
        distinct(self.tags_of_paths[phase as usize][path])
    }

    pub(super) fn tags_of_object(&self, object: usize) -> impl Iterator<Item = usize> + use<> {
        distinct(self.tags_of_objects[object])
    }

    /// Returns the given tags with their effects.
    pub(super) fn choose(&self, tags: &[TagInPhase]) -> ChosenTags {
        let mut chosen = self.inventory.no_tags();
        for &tag in tags {
            let phase = tag.phase as usize;
            chosen.items[phase].push(format!("#{}", self.names[tag.tag]));
            for &path in self.covered_paths(tag) {
                chosen.covered[phase][path] = true;
            }
            for &object in self.evicted_objects(tag.tag) {
                chosen.evicted[phase][object] = true;
            }
        }
        chosen
    }
}

/// Returns for each of `count` tags the indices of the entries that contain it.
fn by_tag(tags: &[Option<[usize; 2]>], count: usize) -> Vec<Vec<usize>> {
    let mut by_tag = vec![Vec::new(); count];
    for (index, &tags) in tags.iter().enumerate() {
        for tag in distinct(tags) {
            by_tag[tag].push(index);
        }
    }
    by_tag
}

fn distinct(tags: Option<[usize; 2]>) -> impl Iterator<Item = usize> {
    let [one, other] = tags.map_or([None; 2], |tags| tags.map(Some));
    one.into_iter().chain(other.filter(|_| one != other))
}
