//! What `status` knows of an account, from its files alone: it neither connects, nor takes the lock,
//! nor writes.

mod entries;
mod report;

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{Config, Environment};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::{Token, TokenHealth};
use crate::run::account_files::AccountFiles;
use crate::state::State;
use crate::state::lock::last_complete_pass;
use crate::state::observation::observe;
use crate::state::storage::FolderStorage;
use crate::untrusted::Untrusted;

pub(crate) use entries::{FolderEntry, LoginDelay, ParkedEntry, RefusedEntry, TokenStatus};
pub(crate) use report::{StatusReport, describe_age};

/// What the files say of an account whose configuration is valid.
struct AccountFacts<'a> {
    config: &'a Config,
    /// `None` if there is none.
    state: Result<Option<State>>,
    last_pass: Option<DateTime<Utc>>,
    /// Whether password or configuration changed since the source rejected a log-in.
    has_corrected_credentials: bool,
    token_file: &'a Path,
    token: Result<TokenFacts>,
}

struct TokenFacts {
    health: TokenHealth,
    /// Identifies it in the state.
    digest: String,
}

/// What is still well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusLimits {
    /// How old the last success may be.
    pub max_age: TimeDelta,
    /// How long a message that was refused is a problem; later it is only listed.
    pub refused_within: TimeDelta,
}

impl StatusLimits {
    pub const DEFAULT: StatusLimits = StatusLimits {
        max_age: TimeDelta::hours(1),
        refused_within: TimeDelta::days(7),
    };
}

impl AccountFiles {
    /// Reads the files.
    pub fn status(
        &self,
        environment: &Environment,
        limits: StatusLimits,
        now: DateTime<Utc>,
    ) -> StatusReport {
        let mut report = StatusReport {
            account: self.name.clone(),
            config: Untrusted::path(&self.config).to_string(),
            state_file: Untrusted::path(&self.state).to_string(),
            ..StatusReport::default()
        };
        let config = match self.load_config(environment) {
            Ok(config) => config,
            Err(error) => {
                report.add_failure(&error);
                return report;
            }
        };
        let state = observe(&mut FolderStorage::new(&self.state), now);
        let is_corrected = |state: &State| {
            let rejected = state.source.credentials.as_ref();
            rejected.is_some_and(|stamp| *stamp != config.credentials_stamp())
                && config
                    .source
                    .password
                    .file()
                    .is_none_or(|file| fs::File::open(file).is_ok())
        };
        let (last_pass, failure) = match last_complete_pass(&self.state) {
            Ok(time) => (time.map(DateTime::from), None),
            Err(error) => (None, Some(self.lock_error(&error))),
        };
        report.describe(
            &AccountFacts {
                config: &config,
                has_corrected_credentials: matches!(&state, Ok(Some(state)) if is_corrected(state)),
                state: failure.map_or(state, Err),
                last_pass,
                token_file: &config.target.token_file,
                token: TokenFacts::read(&config),
            },
            limits,
            now,
        );
        report
    }

    fn lock_error(&self, error: &std::io::Error) -> Error {
        let place = Untrusted::path(&self.state);
        Error::new(Side::State, ErrorKind::Disk, place, error).during("examining the lock file")
    }
}

impl TokenFacts {
    fn read(config: &Config) -> Result<TokenFacts> {
        let target = &config.target;
        let token = Token::load(&target.token_file, None, &target.auth_command, None)?;
        Ok(TokenFacts {
            health: token.health(),
            digest: token.refresh_token_digest(),
        })
    }
}
