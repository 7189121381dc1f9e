//! From arguments to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lifeboat::{Ctx, Error, Result};

use crate::args::Cli;
use crate::output::Output;
use crate::session::Session;
use crate::{progress, signals};

/// The exit code of whatever was stopped by a signal.
const CANCELLED: u8 = 130;

/// Does what `args` (the program's name first) say, and returns the exit code of the process.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    without_core_dumps();
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, args.iter().any(|arg| arg == "--json")),
    };
    let output = Output::new(&cli.global);
    let ctx = Ctx::new();
    match start(cli, output, &ctx) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Once a signal came, whatever went wrong is its consequence.
            let code = if ctx.is_cancelled() { CANCELLED } else { error.kind().exit_code() };
            output.error(&error, code);
            code.into()
        }
    }
}

/// Memory holds passwords and keys, which must not end up in a file.
fn without_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // It can only be refused where less is allowed already.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn start(cli: Cli, output: Output, ctx: &Ctx) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Twice as many as so many jobs take, so that none waits for a thread that waits for it.
        .max_blocking_threads(4 * lifeboat::MAX_JOBS)
        .build()
        .map_err(|error| Error::io("start the worker threads", error))?;
    let watcher = progress::watcher(output);
    let watched = ctx.clone().with_progress(watcher.clone());
    let session = Session::new(cli.global, output, watched, Arc::clone(&watcher));
    let (ctx, signalled) = (ctx.clone(), Arc::clone(&watcher));
    // A task of the workers: this thread would have to be woken, by system calls, for whatever it waits for.
    let command = async move {
        signals::watch(ctx, signalled)?;
        cli.command.run(&session).await
    };
    let result = runtime.block_on(async { tokio::spawn(command).await });
    let result =
        result.unwrap_or_else(|error| Err(Error::internal("the command did not end").because(error)));
    watcher.close();
    // What is still being written to a temporary name may end, but not keep us.
    runtime.shutdown_timeout(Duration::from_secs(10));
    result
}

/// What the parser says: an error, or the help or version that was asked for.
fn refused(error: &clap::Error, json: bool) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let hint = "`lifeboat --help` and `lifeboat COMMAND --help` say what there is";
        Output::json().error(&Error::usage(message).hint(hint), code);
    } else if error.print().is_err() {
        // A closed pipe: whoever asked has gone away.
    }
    code.into()
}
