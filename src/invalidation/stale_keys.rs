//! The keys that go stale, and those that do not.

/// The keys of the live bucket by what a deployment does to them, each with the live prefix.
///
/// An empty [`StaleKeys`] invalidates nothing.
#[derive(Clone, Debug, Default)]
pub struct StaleKeys<'k> {
    /// Keys whose objects get other bytes or other headers.
    pub changed: Vec<&'k str>,
    pub new: Vec<&'k str>,
    /// Changed keys whose objects are written last, when the changed and new ones before are invalidated.
    pub changed_entry_points: Vec<&'k str>,
    /// New keys whose objects are written last.
    pub new_entry_points: Vec<&'k str>,
    pub deleted: Vec<&'k str>,
    /// Keys whose objects stay as they are, which a wildcard would evict needlessly.
    pub kept: Vec<&'k str>,
    /// The live prefix, if unknown keys may have left it: then caches may hold anything under it.
    pub unknown_under: Option<&'k str>,
}
