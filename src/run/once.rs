//! A one-shot run: one pass, or a dry run.

use crate::error::Result;
use crate::message::Listed;
use crate::process::signals::SignalRequests;
use crate::run::account_sync::AccountSync;
use crate::run::account_sync::source_steps::SourceConnection;
use crate::run::and_also;
use crate::sync::DryRunResult;
use crate::timestamp::format_time;

/// Runs one pass, unless Gmail rests.
pub(crate) fn run(mut account: AccountSync<'_>) -> Result<()> {
    if rests(&account) {
        return Ok(());
    }
    let copied = copy(&mut account);
    let copied = replace_error_after_exit_request(copied, &account);
    and_also(copied, account.fold())?;
    account.record_success()
}

/// Reports what a pass would do, unless Gmail rests.
pub(crate) fn dry_run(
    mut account: AccountSync<'_>,
    report: &mut dyn FnMut(&Listed, DryRunResult),
) -> Result<()> {
    if rests(&account) {
        return Ok(());
    }
    let mut connection = SourceConnection::default();
    let result = match account.check_source(&mut connection) {
        Ok(checked) => account.dry_run(checked, report),
        Err(error) => Err(error),
    };
    account.disconnect_gmail();
    connection.log_out();
    replace_error_after_exit_request(result, &account)
}

fn rests(account: &AccountSync<'_>) -> bool {
    let until = account.resting_until();
    if let Some(until) = until {
        let until = format_time(until);
        log::info!("Gmail rests until {until}; this run does nothing");
    }
    until.is_some()
}

fn copy(account: &mut AccountSync<'_>) -> Result<()> {
    let mut connection = SourceConnection::default();
    let checked = account.check_source(&mut connection)?;
    let (_, passed) = account.run_pass(checked);
    account.disconnect_gmail();
    connection.log_out();
    passed.map(drop)
}

fn replace_error_after_exit_request(result: Result<()>, account: &AccountSync<'_>) -> Result<()> {
    result.map_err(|error| {
        if account.context().requests.exit_requested() {
            SignalRequests::replace_error(error)
        } else {
            error
        }
    })
}
