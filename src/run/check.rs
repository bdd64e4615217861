//! What `check` finds out about an account: its files, and both servers by one log-in each.
//!
//! It moves no message and writes nothing: no lock, no state, no token. An access token that has
//! expired is renewed and kept in memory, because without it nothing could be said about Gmail: its
//! lifetime is an hour, and runs with nothing new do not renew it. Google leaves the refresh token
//! valid then; an endpoint that may replace it is not asked ([`RenewalPolicy::KeepInMemory`]).
//!
//! [`RenewalPolicy::KeepInMemory`]: crate::oauth::RenewalPolicy::KeepInMemory

mod connection;
mod files;
mod finding;
mod folders;
mod gmail;
mod source;

use crate::config::{Config, Environment, FolderConfig};
use crate::error::ErrorKind;
use crate::net::{ConnectionOptions, PeerRecorder};
use crate::run::account_files::AccountFiles;
use crate::run::context::RunContext;
use crate::state::State;
use crate::timeouts::CHECK_COMMAND_TIMEOUT;
use crate::untrusted::Untrusted;

pub(crate) use finding::{CheckReport, Finding, Verdict};
use finding::{Findings, Group};

/// A check that a signal ended is no proof that everything works.
pub(crate) const INTERRUPTED: ErrorKind = ErrorKind::Unavailable;

/// What the checks of an account share.
struct CheckedAccount<'a> {
    config: &'a Config,
    /// `None` if there is none, or it cannot be read.
    state: Option<&'a State>,
    context: &'a RunContext<'a>,
}

impl AccountFiles {
    /// Checks the account, and reports each finding at once. An exit request ends the check early, or
    /// keeps it from beginning.
    pub fn check(
        &self,
        environment: &Environment,
        context: &RunContext<'_>,
        report: &mut dyn FnMut(&Finding),
    ) -> CheckReport {
        let mut findings = Findings::new(report);
        let is_interrupted = || context.requests.exit_requested();
        let names = if is_interrupted() {
            None
        } else {
            self.check_account(environment, context, &mut findings)
        };
        let (source, target) = names.unzip();
        let is_complete = !is_interrupted();
        let found = findings.into_report();
        let exit_status = match found.exit_status {
            0 if !is_complete => INTERRUPTED.exit_status(),
            status => status,
        };
        CheckReport {
            account: self.name.clone(),
            config: Untrusted::path(&self.config).to_string(),
            state_file: Untrusted::path(&self.state).to_string(),
            source,
            target,
            is_complete,
            exit_status,
            ..found
        }
    }

    /// Returns the names of both sides, if they are known.
    fn check_account(
        &self,
        environment: &Environment,
        context: &RunContext<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<(String, String)> {
        let config = match self.load_config(environment) {
            Ok(config) => config,
            Err(error) => {
                findings.fail(Group::Configuration, "content", &error);
                return None;
            }
        };
        let names = (
            Untrusted::new(&config.describe_source()).to_string(),
            Untrusted::new(&config.describe_target()).to_string(),
        );
        let (source, target) = &names;
        let found = match &config.folders {
            FolderConfig::Single(_) => format!("valid: copies {source} to {target}"),
            FolderConfig::Many(rules) => format!(
                "valid: copies folders of {} to {}, by {} entries",
                Untrusted::new(&config.source.user),
                Untrusted::new(&config.target.user),
                rules.len()
            ),
        };
        findings.ok(Group::Configuration, "content", found);
        files::check_protection(&config, &self.state, findings);
        files::check_token_file(&config, findings);
        let state = files::check_state(&self.state, &config, context.timing.clock.now(), findings);
        let account = CheckedAccount {
            config: &config,
            state: state.as_ref(),
            context,
        };
        let at_source = account.check_source(findings);
        let at_gmail = account.check_gmail(findings);
        if let (Some(source), Some(gmail)) = (at_source, at_gmail) {
            account.check_folders(&source, &gmail, findings);
        }
        Some(names)
    }
}

impl CheckedAccount<'_> {
    /// The options of a connection that is recorded.
    fn connection_options(&self) -> (ConnectionOptions, PeerRecorder) {
        let recorder = PeerRecorder::default();
        let mut options = ConnectionOptions {
            recorder: Some(recorder.clone()),
            ..self.context.connection_options()
        };
        let command = &mut options.timeouts.command;
        *command = CHECK_COMMAND_TIMEOUT.min(*command);
        (options, recorder)
    }

    fn is_interrupted(&self) -> bool {
        self.context.requests.exit_requested()
    }
}
