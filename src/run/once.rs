//! One run: one pass, and the end.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::args::SyncArgs;
use crate::config::Environment;
use crate::error::Result;
use crate::message::Listed;
use crate::process::signals::SignalRequests;
use crate::run::account_sync::{AccountSync, worse_of};
use crate::state::storage;
use crate::sync::DryRunResult;
use crate::timestamp::format_time;

/// Runs once.
///
/// # Errors
/// What ended the run before its end; [`ErrorKind::Resting`](crate::error::ErrorKind::Resting) if there is
/// nothing wrong.
pub fn run(args: &SyncArgs, mut carrier: AccountSync<'_>, orders: &SignalRequests) -> Result<()> {
    if let Some(until) = carrier.resting_until() {
        let until = format_time(until);
        log::info!("gmail rests until {until}; nothing is done before");
        return Ok(());
    }
    if args.dry_run {
        let told = rehearse(&mut carrier);
        return unless_ended(told, orders);
    }
    let done = unless_ended(copy(&mut carrier), orders);
    worse_of(done, carrier.fold())?;
    carrier.record_success()
}

fn copy(carrier: &mut AccountSync<'_>) -> Result<()> {
    let (mailbox, started) = carrier.check_source()?;
    let passed = carrier.run_pass(&mailbox, started);
    carrier.disconnect_gmail();
    carrier.disconnect_source();
    passed.map(drop)
}

/// A run that was asked to end did not fail, whatever its connections say of their end.
fn unless_ended(done: Result<()>, orders: &SignalRequests) -> Result<()> {
    done.map_err(|error| {
        if orders.exit_requested() {
            SignalRequests::replace_error(error)
        } else {
            error
        }
    })
}

/// Tells what a run would do, a line a message on standard output.
fn rehearse(carrier: &mut AccountSync<'_>) -> Result<()> {
    let told = carrier.dry_run(&mut |listed, what| {
        // A reader that has gone away has seen enough.
        let _ = writeln!(io::stdout(), "{}", told(listed, what));
    });
    carrier.disconnect_gmail();
    carrier.disconnect_source();
    told
}

fn told(listed: &Listed, what: DryRunResult) -> String {
    let date = listed.internal_date.map_or_else(
        || "no date".to_owned(),
        |date| date.format("%Y-%m-%d %H:%M:%S %z").to_string(),
    );
    let id = listed
        .identity
        .id
        .as_ref()
        .map_or_else(|| "no Message-ID".to_owned(), ToString::to_string);
    let what = match what {
        DryRunResult::New => "new",
        DryRunResult::NewUnlessAtGmail => "new, unless gmail has it already",
        DryRunResult::Known => "already there",
        DryRunResult::NeedsBody => "its id is in use: its content decides",
        DryRunResult::Parked => "parked, to be tried again",
    };
    format!(
        "uid {} | {date} | {} octets | {id} | {what}",
        listed.uid, listed.size
    )
}

/// The state file: `--state-file`, else the default.
#[must_use]
pub fn state_file(args: &SyncArgs, environment: &Environment) -> PathBuf {
    let default = || storage::default_path(environment.state_directory.as_deref());
    args.state_file.clone().unwrap_or_else(default)
}
