//! The command line of a stack: it pushes builds, follows them, and shows and undoes what was deployed.
//!
//! Only the function writes to the live site. Everything here uploads archives, sends events, and reads the ledger.

mod archive;
mod arguments;
mod doctor;
mod failure;
mod folder;
mod follow;
mod history;
mod pack;
mod plan;
mod preflight;
mod previews;
mod print;
mod promote;
mod push;
mod redrive;
mod remove;
mod report;
mod rollback;
mod source;
mod stack;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::{CommandFactory, Parser};
use failure::Failure;
use print::Printer;
use stack::Stack;

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { global, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            let failure = Failure::Usage(error.to_string().trim_start_matches("error: ").trim_end().to_owned());
            Printer::new(true).failure(&failure);
            return ExitCode::from(failure.code());
        }
        Err(error) => error.exit(),
    };
    let printer = Printer::new(global.json);
    let code = match run(&printer, &global, command).await {
        Ok(code) => code,
        Err(failure) => {
            printer.failure(&failure);
            failure.code()
        }
    };
    ExitCode::from(code)
}

async fn run(printer: &Printer, global: &arguments::Global, command: Command) -> Result<u8, Failure> {
    match &command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "dropship", &mut script);
            return print::document(&script).map(|()| 0);
        }
        Command::Man { folder } => {
            let command = Arguments::command();
            let written = match folder {
                Some(folder) => clap_mangen::generate_to(command, folder)
                    .map_err(|error| Failure::Local(format!("writing into {}: {error}", folder.display()))),
                None => {
                    let mut page = Vec::new();
                    let rendered = clap_mangen::Man::new(command).render(&mut page).map_err(Failure::local);
                    rendered.and_then(|()| print::document(&page))
                }
            };
            return written.map(|()| 0);
        }
        _ => {}
    }
    let mut stack = Stack::find(global).await?;
    if let Some(given) = &global.preview {
        stack = stack.preview(&previews::named(given)?)?;
    }
    match command {
        Command::Push(given) => push::push(printer, &stack, given).await,
        Command::Plan(given) => plan::plan(printer, &stack, given).await,
        Command::Status => history::status(printer, &stack).await,
        Command::History(given) => history::history(printer, &stack, given.number.get()).await,
        Command::Show(given) => history::show(printer, &stack, given.id.as_deref(), given.verbose).await,
        Command::Logs(given) => history::show(printer, &stack, Some(&given.id), true).await,
        Command::Rollback(given) => rollback::rollback(printer, &stack, given).await,
        Command::Previews => previews::previews(printer, &stack).await,
        Command::Remove(given) => remove::remove(printer, &stack, given).await,
        Command::Promote(given) => promote::promote(printer, &stack, given).await,
        Command::Redrive(given) => redrive::redrive(printer, &stack, given).await,
        Command::Doctor => doctor::doctor(printer, &stack).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(0),
    }
}
