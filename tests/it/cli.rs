//! The command line, as the real executable against the embedded services.

mod desk;
mod failures;
mod history;
mod plan;
mod push;
mod redrive;
mod terminal;
