//! Whole deployments against the stand-ins for AWS.

mod deadline;
mod drift;
mod history;
mod identity;
mod long_answers;
mod manifest;
mod old_batches;
mod owed;
mod refusals;
mod refused_runs;
mod requests;
mod restored;
mod rollbacks;
mod runs;
mod undo;
mod updates;
mod waiting;

use crate::build::{Files, files};

/// Returns the build that is deployed first.
pub fn first() -> Files {
    files([
        ("index.html", "<script src=/app.1.js></script>"),
        ("docs/index.html", "docs"),
        ("app.1.js", "one"),
        ("logo.svg", "<svg/>"),
    ])
}

/// Returns the next build: one new file, one changed, one deleted, two kept.
fn second() -> Files {
    files([
        ("index.html", "<script src=/app.2.js></script>"),
        ("docs/index.html", "docs"),
        ("app.2.js", "two"),
        ("logo.svg", "<svg/>"),
    ])
}
