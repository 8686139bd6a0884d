//! The faults of entries, collected so that one rejection tells all of them.

use std::mem;

use super::Rejection;

/// How many entries a rejection names.
const NAMED: usize = 10;

/// The faults of single entries.
#[derive(Default)]
pub(super) struct Faults {
    problems: Vec<Problem>,
    /// How many entries the problems name, and how many more have one.
    named: usize,
    more: usize,
}

/// The same fault of one entry or of several.
struct Problem {
    first: Rejection,
    /// The same rejection without its entry.
    nameless: Rejection,
    others: Vec<String>,
}

impl Faults {
    /// Adds a fault of an entry.
    ///
    /// # Errors
    /// The rejection itself, if it makes further reading pointless.
    pub(super) fn add(&mut self, rejection: Rejection) -> Result<(), Rejection> {
        let mut nameless = rejection.clone();
        let Some(entry) = nameless.faulty_entry() else {
            return Err(rejection);
        };
        let entry = mem::take(entry);
        if self.named == NAMED {
            self.more += 1;
            return Ok(());
        }
        self.named += 1;
        match self.problems.iter_mut().find(|problem| problem.nameless == nameless) {
            Some(problem) => problem.others.push(format!("`{entry}`")),
            None => self.problems.push(Problem { first: rejection, nameless, others: Vec::new() }),
        }
        Ok(())
    }

    /// Fails with all faults, if there are any.
    pub(super) fn check(&mut self) -> Result<(), Rejection> {
        let Self { problems, named, more } = mem::take(self);
        if named <= 1 {
            return problems.into_iter().next().map_or(Ok(()), |problem| Err(problem.first));
        }
        let mut sentences: Vec<String> = problems.iter().map(Problem::sentence).collect();
        match more {
            0 => {}
            1 => sentences.push("and 1 more entry has a fault".to_owned()),
            _ => sentences.push(format!("and {more} more entries have faults")),
        }
        Err(Rejection::Several(sentences.join("; ")))
    }
}

impl Problem {
    fn sentence(&self) -> String {
        let Self { first, others, .. } = self;
        if others.is_empty() { first.to_string() } else { format!("{first} (the same goes for {})", others.join(", ")) }
    }
}
