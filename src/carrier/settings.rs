//! What the parts must know of the configuration, the state and the process.

use std::sync::Arc;

use chrono::TimeDelta;

use super::Surroundings;
use crate::config::Config;
use crate::connection::Bounds;
use crate::gmail;
use crate::state::{GmailMemory, State};
use crate::sync;
use crate::token::Refusal;

pub(super) fn settings_of(config: &Config) -> sync::Settings {
    sync::Settings {
        source: config.source_name(),
        first_run_days: config.first_run_days,
        copy_flags: config.copy_flags,
        daily_upload_limit: config.daily_upload_limit,
    }
}

pub(super) fn bounds(around: &Surroundings<'_>) -> Bounds {
    Bounds {
        patience: around.pace.patience,
        tether: around.tether.clone(),
        alerts: around.alerts.clone(),
    }
}

pub(super) fn gmail_settings(
    config: &Config,
    state: &State,
    around: &Surroundings<'_>,
    is_dry_run: bool,
) -> gmail::Settings {
    let GmailMemory { token_refused, .. } = &state.gmail;
    let calendar = around.pace.calendar;
    gmail::Settings {
        config: config.target.clone(),
        now: Arc::new(move || calendar.now()),
        bounds: bounds(around),
        // A time further off than the longest step was written by a clock that was wrong.
        refused: token_refused
            .as_ref()
            .filter(|refused| refused.retry_after <= calendar.now() + TimeDelta::hours(1))
            .map(|refused| Refusal {
                refresh_token: refused.refresh_token.clone(),
                retry_after: refused.retry_after,
            }),
        is_dry_run,
    }
}
