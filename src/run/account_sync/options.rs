//! What the parts must know of the configuration, the state and the process.

use std::sync::Arc;

use crate::config::Config;
use crate::delivery::gmail_imap;
use crate::error::Side;
use crate::net::ConnectionOptions;
use crate::oauth::RememberedRejection;
use crate::retry::REJECTED_CREDENTIALS;
use crate::run::account_sync::RunContext;
use crate::state::{GmailState, State};
use crate::sync;

pub(super) fn settings_of(config: &Config) -> sync::PassOptions {
    sync::PassOptions {
        source: config.source_name(),
        first_run_days: config.first_run_days,
        copy_flags: config.copy_flags,
        daily_upload_limit: config.daily_upload_limit,
    }
}

pub(super) fn connection_options(around: &RunContext<'_>) -> ConnectionOptions {
    ConnectionOptions {
        side: Side::Host,
        timeouts: around.timing.timeouts,
        canceller: around.canceller.clone(),
        alert_log: around.alert_log.clone(),
    }
}

pub(super) fn gmail_settings(
    config: &Config,
    state: &State,
    around: &RunContext<'_>,
    is_dry_run: bool,
) -> gmail_imap::GmailTargetOptions {
    let GmailState { rejected_token, .. } = &state.gmail;
    let calendar = around.timing.clock;
    gmail_imap::GmailTargetOptions {
        config: config.target.clone(),
        now: Arc::new(move || calendar.now()),
        connection: connection_options(around),
        // A time further off than the longest step was written by a clock that was wrong.
        rejected_token: rejected_token
            .as_ref()
            .filter(|refused| {
                refused.retry_after <= calendar.now() + REJECTED_CREDENTIALS.max_delay()
            })
            .map(|refused| RememberedRejection {
                refresh_token: refused.refresh_token.clone(),
                retry_after: refused.retry_after,
            }),
        is_dry_run,
    }
}
