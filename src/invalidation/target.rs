//! A path that an invalidation must cover.

use super::{ByPhase, Phase};

/// How one phase can cover a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// The phase has nothing to cover here.
    Nothing,
    /// By exact items, of which there are this many and some of which end in `*`; or by a wildcard.
    ///
    /// The counts are bytes because they are small and a site may have hundreds of thousands of targets.
    ExactItems { items: u8, wildcards: u8 },
    /// Only by a wildcard, here or further up.
    Wildcard,
}

impl Need {
    /// Returns the need of both, at the same path.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, need) | (need, Self::Nothing) => need,
            (Self::Wildcard, _) | (_, Self::Wildcard) => Self::Wildcard,
            (Self::ExactItems { .. }, Self::ExactItems { .. }) => self,
        }
    }
}

/// A path that must be covered in one phase or in both.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// The decoded path, or the part of it that a wildcard may repeat where only a wildcard covers the path.
    pub(super) path: &'a str,
    /// How many bytes of `path` a wildcard may repeat; at least the first slash.
    pub(super) wildcard_bytes: usize,
    pub(super) needs: ByPhase<Need>,
}

impl<'a> Target<'a> {
    pub(super) fn new(phase: Phase, path: &'a str, wildcard_bytes: usize, need: Need) -> Self {
        let mut needs = [Need::Nothing; 2];
        needs[phase as usize] = need;
        Self { path, wildcard_bytes, needs }
    }

    /// Adds the needs of another target with the same path.
    pub(super) fn add_needs(&mut self, other: &Self) {
        for (need, other) in self.needs.iter_mut().zip(other.needs) {
            *need = need.and(other);
        }
    }

    pub(super) fn is_needed_in(&self, phase: Phase) -> bool {
        self.needs[phase as usize] != Need::Nothing
    }

    /// Returns the longest prefix for a wildcard that repeats at most `depth` bytes of the path.
    pub(super) fn wildcard_prefix(&self, depth: usize) -> &'a str {
        &self.path[..self.path.floor_char_boundary(depth.min(self.wildcard_bytes))]
    }
}
