//! Whole deployments against the embedded services.

mod deadline;
mod drift;
mod history;
mod manifest;
mod owed;
mod refusals;
mod requests;
mod rollbacks;
mod updates;

use crate::build::{Files, files};

pub fn first() -> Files {
    files([
        ("index.html", "<script src=/app.1.js></script>"),
        ("docs/index.html", "docs"),
        ("app.1.js", "one"),
        ("logo.svg", "<svg/>"),
    ])
}

fn second() -> Files {
    files([
        ("index.html", "<script src=/app.2.js></script>"),
        ("docs/index.html", "docs"),
        ("app.2.js", "two"),
        ("logo.svg", "<svg/>"),
    ])
}
