//! What the parts must know of the configuration, the state and the process.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::config::Config;
use crate::delivery::gmail_imap;
use crate::imap::ConnectionOptions;
use crate::oauth::RememberedRejection;
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

pub(super) fn bounds(around: &RunContext<'_>) -> ConnectionOptions {
    ConnectionOptions {
        patience: around.pace.patience,
        tether: around.tether.clone(),
        alerts: around.alerts.clone(),
    }
}

pub(super) fn gmail_settings(
    config: &Config,
    state: &State,
    around: &RunContext<'_>,
    is_dry_run: bool,
) -> gmail_imap::GmailTargetOptions {
    let GmailState { token_refused, .. } = &state.gmail;
    let calendar = around.pace.calendar;
    gmail_imap::GmailTargetOptions {
        config: config.target.clone(),
        now: Arc::new(move || calendar.now()),
        bounds: bounds(around),
        // A time further off than the longest step was written by a clock that was wrong.
        refused: token_refused
            .as_ref()
            .filter(|refused| refused.retry_after <= calendar.now() + TimeDelta::hours(1))
            .map(|refused| RememberedRejection {
                refresh_token: refused.refresh_token.clone(),
                retry_after: refused.retry_after,
            }),
        is_dry_run,
    }
}
