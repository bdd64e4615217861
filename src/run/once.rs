//! A one-shot run: one pass, or a dry run.

use crate::error::{Error, Result};
use crate::process::signals::SignalRequests;
use crate::run::account_sync::source_steps::SourceConnection;
use crate::run::account_sync::{AccountSync, DryRunLine};
use crate::run::and_also;
use crate::sync::DryRunTotal;

/// Runs one pass, unless Gmail rests.
///
/// A run that got an exit request says so even if the pass came to its end: what was in flight is parked
/// then, for the next run.
///
/// # Errors
/// Also while Gmail rests because its storage is full, which only the user can change.
pub(crate) fn run(mut account: AccountSync<'_>) -> Result<()> {
    if account.rests()? {
        return Ok(());
    }
    let copied = copy(&mut account);
    if copied.is_err() {
        account.warn_of_lost_request();
    }
    let requests = &account.context().requests;
    let copied = match copied {
        Ok(()) if requests.exit_requested() => Err(SignalRequests::exit_error()),
        Ok(()) => Ok(()),
        Err(error) => Err(requests.replace_error(error)),
    };
    and_also(copied, account.fold())?;
    account.record_success()
}

/// Reports what a pass would do, unless Gmail rests; returns the total.
pub(crate) fn dry_run(
    mut account: AccountSync<'_>,
    report: &mut dyn FnMut(DryRunLine),
) -> Result<Option<DryRunTotal>> {
    if account.rests()? {
        return Ok(None);
    }
    let mut connection = SourceConnection::default();
    let checked = account.check_source(&mut connection);
    let reported = checked.and_then(|checked| account.dry_run(checked, report));
    account.disconnect_gmail();
    connection.log_out();
    reported
        .map(Some)
        .map_err(|error| account.context().requests.replace_error(error))
}

fn copy(account: &mut AccountSync<'_>) -> Result<()> {
    let mut connection = SourceConnection::default();
    let checked = account.check_source(&mut connection)?;
    let (_, passed) = account.run_pass(checked);
    account.disconnect_gmail();
    connection.log_out();
    let passed = passed?;
    let label_failure = passed.label_failure.into_iter();
    match most_severe(passed.failures.into_iter().chain(label_failure)) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// The failure that decides how the run ends; the others are logged.
fn most_severe(mut failures: impl Iterator<Item = Error>) -> Option<Error> {
    let first = failures.next()?;
    Some(failures.fold(first, |one, other| {
        let decides = one.clone().more_severe(other.clone());
        let logged = if decides == one { other } else { one };
        log::error!("{logged}");
        decides
    }))
}
