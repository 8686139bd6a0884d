//! The command line's arguments, with the help that one can learn from.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use dropship::preview::{self, PreviewName};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default());

/// The heading of the options that every command has.
const ALL: &str = "Options of all commands";

const EXIT_CODES: &str = "Exit codes:
  0  the build is live, or nothing had to change
  1  it was refused, or something failed
  2  the arguments are wrong
  3  it is not live yet, and the time to wait is over
  4  a newer upload has taken the site";

/// Brings static sites live that a dropship stack serves, and looks after them.
#[derive(Debug, Parser)]
#[command(
    name = "dropship",
    version,
    styles = STYLES,
    after_help = "Example:
  dropship --stack dropship-prod push dist

The stack's name is also read from DROPSHIP_STACK, or from a dropship.toml here or in a folder above:
  stack = \"dropship-prod\""
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug)]
pub struct Global {
    /// Name of the stack, which its function shares
    #[arg(long, global = true, help_heading = ALL, env = "DROPSHIP_STACK", value_name = "NAME")]
    pub stack: Option<String>,
    /// Profile of the AWS configuration
    #[arg(long, global = true, help_heading = ALL, value_name = "NAME")]
    pub profile: Option<String>,
    /// AWS region of the stack
    #[arg(long, global = true, help_heading = ALL, value_name = "NAME")]
    pub region: Option<String>,
    /// Another endpoint than AWS's, for stand-ins
    #[arg(long, global = true, help_heading = ALL, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Print one JSON document for machines instead of text
    #[arg(long, global = true, help_heading = ALL)]
    pub json: bool,
    /// Mean a preview instead of the live site; without a NAME, that of the branch
    #[arg(long, global = true, help_heading = ALL, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub preview: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload a build, and follow its deployment until it is live
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  dropship push dist                       zips the folder, uploads it, and waits until it is live
  dropship push site.zip --no-wait         uploads a zip, and does not wait
  dropship push dist --message 'Hotfix'    says in the history what it is
  dropship push dist --preview             pushes a preview named after the branch
  dropship push dist --preview pr-7        pushes the preview pr-7"))]
    Push(Push),
    /// Show what a push would change, without changing anything
    #[command(after_help = "Examples:
  dropship plan dist
  dropship plan dist --exit-code    exits with 1 if a push would change the site, as `git diff` does")]
    Plan(Plan),
    /// Show what is live, what is at work and what waits
    #[command(after_help = "Example:
  dropship status")]
    Status,
    /// List the last runs: what was deployed when, by whom, and how it ended
    #[command(after_help = "Example:
  dropship history -n 50")]
    History(History),
    /// Show one deployment with its runs
    #[command(after_help = "Examples:
  dropship show                              the one that is live
  dropship show 20261122T101500Z-0123456789ab
  dropship show --verbose                    with every invalidation")]
    Show(Show),
    /// Show one deployment with everything that the ledger has of it: `show --verbose`
    #[command(after_help = "Example:
  dropship logs 20261122T101500Z-0123456789ab")]
    Logs(Logs),
    /// Bring an earlier deployment live again
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  dropship rollback                                  undoes the last deployment, after a question
  dropship rollback 20261122T101500Z-0123456789ab --yes"))]
    Rollback(Rollback),
    /// List the previews: age, commit and URL
    #[command(after_help = "Example:
  dropship previews")]
    Previews,
    /// Take a preview away: its files, its manifest and its history
    #[command(after_help = "Exit codes:
  0  the preview is gone
  1  something failed
  2  the arguments are wrong
  3  it is not gone yet, and the time to wait is over
  4  somebody has pushed to it since

Example:
  dropship remove pr-7")]
    Remove(Remove),
    /// Bring live what a preview shows, without a new build: the same archive
    #[command(after_help = format!("{EXIT_CODES}

Example:
  dropship promote pr-7"))]
    Promote(Promote),
    /// List the events that have failed for good, and send chosen ones again
    #[command(after_help = "Examples:
  dropship redrive                lists them
  dropship redrive --send 1 3     sends the first and the third again
  dropship redrive --delete 2     deletes the second")]
    Redrive(Redrive),
    /// Look for faults of the stack that no deployment shows, and say how to mend them
    #[command(after_help = "Exit codes:
  0  everything works; there may be advice
  1  there is a problem, or a check could not be made
  2  the arguments are wrong

Examples:
  dropship doctor
  dropship doctor --json | jq -r '.findings[] | .problem'")]
    Doctor,
    /// Print the completions for a shell
    #[command(after_help = "Example:
  dropship completions bash > /etc/bash_completion.d/dropship")]
    Completions { shell: Shell },
    /// Print the manual page, or write the pages of all commands into a folder
    #[command(after_help = "Examples:
  dropship man | man -l -
  dropship man /usr/local/share/man/man1")]
    Man {
        /// The folder, which must exist
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub struct Push {
    /// A zip, or a folder to zip
    #[arg(value_name = "DIR|ZIP")]
    pub build: PathBuf,
    /// What the history says about this build; the default is the subject of the commit
    #[arg(long, short, value_name = "TEXT")]
    pub message: Option<String>,
    #[command(flatten)]
    pub wait: Wait,
    /// Upload and return, without following the deployment
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    /// If the deployment is refused as `LargeDelete`, send the upload once more and allow it. This needs the right to
    /// invoke the function
    #[arg(long, conflicts_with = "no_wait")]
    pub allow_large_delete: bool,
    /// Name of the uploaded archive
    #[arg(long, value_name = "NAME.zip", default_value = "site.zip", value_parser = archive_name)]
    pub name: String,
}

#[derive(Args, Debug)]
pub struct Wait {
    /// How long to wait for the deployment, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub timeout: Duration,
}

#[derive(Args, Debug)]
pub struct Plan {
    /// A zip, or a folder to zip
    #[arg(value_name = "DIR|ZIP")]
    pub build: PathBuf,
    /// Exit with 1 if a push would change the site
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Args, Debug)]
pub struct History {
    /// How many runs to list
    #[arg(short, long, value_name = "COUNT", default_value = "20")]
    pub number: NonZeroUsize,
}

#[derive(Args, Debug)]
pub struct Show {
    /// The deployment; the default is the one that is live
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Show every invalidation and the event
    #[arg(long, short)]
    pub verbose: bool,
}

#[derive(Args, Debug)]
pub struct Logs {
    /// The deployment
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Rollback {
    /// The deployment to bring back, or `previous`: the one that the live one has replaced
    #[arg(value_name = "previous|ID", default_value = "previous")]
    pub to: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Roll back even if that takes most of the site away
    #[arg(long)]
    pub allow_large_delete: bool,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Args, Debug)]
pub struct Remove {
    /// The preview
    #[arg(value_name = "NAME", value_parser = preview_name)]
    pub name: PreviewName,
    #[command(flatten)]
    pub wait: Wait,
    /// Ask for the removal and return, without following it
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
}

#[derive(Args, Debug)]
pub struct Promote {
    /// The preview
    #[arg(value_name = "NAME", value_parser = preview_name)]
    pub name: PreviewName,
    /// The deployment that was looked at, as `push --preview --json` and `previews --json` name it; if the preview shows
    /// another one by now, nothing is promoted
    #[arg(value_name = "ID")]
    pub deployment: Option<String>,
    /// If the deployment is refused as `LargeDelete`, send it once more and allow it. This needs the right to invoke the
    /// function
    #[arg(long)]
    pub allow_large_delete: bool,
    /// Name of the archive at the live site
    #[arg(long = "as", value_name = "NAME.zip", default_value = "site.zip", value_parser = archive_name)]
    pub archive: String,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Args, Debug)]
pub struct Redrive {
    /// Send these events again, by their numbers in the list
    #[arg(long, value_name = "NUMBER", num_args = 1..)]
    pub send: Vec<usize>,
    /// Delete these events, by their numbers in the list
    #[arg(long, value_name = "NUMBER", num_args = 1..)]
    pub delete: Vec<usize>,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

fn preview_name(text: &str) -> Result<PreviewName, &'static str> {
    PreviewName::parse(text).ok_or(preview::RULE)
}

fn archive_name(text: &str) -> Result<String, &'static str> {
    let is_name = dropship::archive::is_named_zip(text)
        && !text.contains(|char: char| matches!(char, '/' | '\\') || char.is_control());
    if is_name { Ok(text.to_owned()) } else { Err("it must be a file name that ends in `.zip`") }
}
