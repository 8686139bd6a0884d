//! The command line, as the real executable against the embedded services.

mod desk;
mod doctor;
mod failures;
mod history;
mod large_delete;
mod overlap;
mod plan;
mod previews;
mod push;
mod redrive;
mod terminal;
