//! The objects that something else has changed.

use crate::cut;

/// How many objects something else has changed, added or removed, and the keys of the first of them.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    count: usize,
    first: Vec<String>,
}

impl Drift {
    pub fn note(&mut self, key: &str) {
        self.count += 1;
        if self.first.len() < cut::NAMED {
            self.first.push(key.to_owned());
        }
    }

    /// Adds what was noted later.
    pub fn append(&mut self, later: &Self) {
        self.count += later.count;
        let room = cut::NAMED - self.first.len();
        self.first.extend(later.first.iter().take(room).cloned());
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns a sentence for the report; `None` if nothing has drifted.
    pub fn warning(&self) -> Option<String> {
        let keys = || cut::sentence_of(&self.first, self.count);
        (self.count > 0).then(|| format!("objects that something else had changed: {}", keys()))
    }
}
