//! Logging in to the source, and the delays after it rejected or limited the log-in.

use chrono::{DateTime, Utc};

use crate::config::{Password, SourceConfig};
use crate::error::{Consequence, Error, ErrorKind, Result, Side};
use crate::imap::{LoginForm, LoginHistory};
use crate::message::Mailbox;
use crate::retry::{LIMITED_LOGINS, REJECTED_CREDENTIALS};
use crate::run::account_sync::AccountSync;
use crate::run::and_also;
use crate::secret::Secret;
use crate::source::ImapSource;
use crate::state::{Event, SourceState};
use crate::sync::new_since;
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

impl AccountSync<'_> {
    /// Logs in to the source, unless it rejected or limited a log-in a moment ago: a server that bans
    /// clients after wrong passwords would lock out the owner.
    pub(super) fn log_in_to_source(&mut self) -> Result<(ImapSource, Mailbox)> {
        let now = self.now();
        let mut corrected = None;
        if let Some(until) = self.login_delayed_until(now) {
            corrected = self.corrected_command_output();
            if corrected.is_none() {
                return Err(self.login_delayed_error(until));
            }
        }
        let options = self.context.connection_options();
        let history = self.login_history(corrected.is_some());
        let source = &SourceConfig {
            folder: self.main_folder().to_owned(),
            ..self.config.source.clone()
        };
        let password = corrected.map_or_else(|| source.password.read(), Ok);
        let stamp = |password| self.config.command_stamp(password);
        self.command_stamp = password.as_ref().ok().and_then(stamp);
        let folder = self.state().folder_named(&source.folder);
        let new_since = folder
            .and_then(|folder| new_since(folder, &self.config.source_name_of(&source.folder)));
        let opened = password.and_then(|password| {
            ImapSource::open_with_history(source, password, options, history, new_since)
        });
        let (source, mailbox) = self.record_failed_login(opened, now)?;
        let history = source.login_history();
        let form = history.accepted;
        self.record_source_state(SourceState {
            login_form: form.map(|form| form.name().to_owned()),
            loses_pipelined_commands: history.loses_pipelined_commands,
            pipeline_broke: history.pipeline_broke,
            wrong_uid_next: self.state().source.wrong_uid_next,
            ..SourceState::default()
        })?;
        Ok((source, mailbox))
    }

    /// What the state knows of earlier log-ins.
    fn login_history(&self, is_corrected: bool) -> LoginHistory {
        let source = &self.state().source;
        let form = source.login_form.as_deref();
        // That another server took an initial response does not permit to send more with it here.
        let server = self.config.source_name_of("");
        let mut folders = self.state().folders();
        let is_here = folders.any(|(_, folder)| {
            let cursor = folder.cursor.as_ref();
            cursor.is_some_and(|cursor| cursor.source.starts_with(&server))
        });
        LoginHistory {
            accepted: form
                .and_then(LoginForm::from_name)
                .filter(|form| is_here || *form != LoginForm::InitialResponse),
            is_rejected: source.rejected_logins > 0
                && !is_corrected
                && self.credentials_are_unchanged(),
            loses_pipelined_commands: source.loses_pipelined_commands,
            pipeline_broke: source.pipeline_broke,
        }
    }

    /// Whether the credentials are those of the last failed log-in.
    fn credentials_are_unchanged(&self) -> bool {
        self.state().source.credentials == Some(self.config.credentials_stamp())
    }

    /// Runs the password command if its last output was rejected; returns what it prints if that is
    /// another password.
    fn corrected_command_output(&self) -> Option<Secret> {
        let source = &self.state().source;
        let rejected = source.command_output.as_ref()?;
        let password = self.config.source.password.read().ok()?;
        let stamp = self.config.command_stamp(&password)?;
        (source.limited_logins == 0 && stamp != *rejected).then_some(password)
    }

    /// Whether the password command prints another password than the rejected one.
    pub fn has_corrected_command_output(&self) -> bool {
        self.corrected_command_output().is_some()
    }

    /// Until when the credentials must not be tried, if a log-in failed.
    fn login_delayed_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let stamp = self.config.credentials_stamp();
        self.state().source.login_delayed_until(&stamp, now)
    }

    fn login_delayed_error(&self, until: DateTime<Utc>) -> Error {
        let place = self.config.source.server.address();
        let source = &self.state().source;
        let (kind, what) = match (source.limited_logins, source.rejected_logins) {
            (0, 0 | 1) => (
                ErrorKind::Rejected,
                "the last log-in was rejected".to_owned(),
            ),
            (0, several) => {
                let what = format!("the last {several} log-ins were rejected");
                (ErrorKind::Rejected, what)
            }
            (_, _) => {
                let what = "the server limited the last log-in".to_owned();
                (ErrorKind::Unavailable, what)
            }
        };
        // An earlier version recorded no remedy, and rejected passwords alone.
        let remedy = source.remedy.as_deref();
        let remedy = remedy.unwrap_or("correct source_user or the password");
        let or_output = match self.config.source.password {
            Password::Command(_) => " or the output of source_pass_command",
            Password::Given(_) | Password::File(_) => "",
        };
        Error::new(Side::Host, kind, place, what)
            .during("waiting to log in")
            .remedy(format_args!(
                "{}; will retry at {}, or at once when the configuration{or_output} changes",
                Untrusted::new(remedy),
                format_time(until)
            ))
    }

    /// Records a log-in that the source rejected or limited; other results pass through.
    pub(super) fn record_failed_login<T>(
        &mut self,
        result: Result<T>,
        now: DateTime<Utc>,
    ) -> Result<T> {
        let error = match &result {
            Err(error) if error.side() == Side::Source => error,
            _ => return result,
        };
        let source = &self.state().source;
        let (mut rejected_logins, mut limited_logins) = (source.rejected_logins, 0);
        let delay = if error.consequence() == Some(&Consequence::SourceLoginLimited) {
            limited_logins = source.limited_logins.saturating_add(1);
            LIMITED_LOGINS.delay_after(limited_logins)
        } else if error.kind() == ErrorKind::Rejected {
            rejected_logins = rejected_logins.saturating_add(1);
            REJECTED_CREDENTIALS.delay_after(rejected_logins)
        } else {
            return result;
        };
        let recorded = SourceState {
            retry_after: Some(now + delay),
            rejected_logins,
            credentials: Some(self.config.credentials_stamp()),
            command_output: self.command_stamp.clone(),
            limited_logins,
            remedy: error.remedy_text().map(str::to_owned),
            ..source.clone()
        };
        let recorded = self.record_source_state(recorded);
        and_also(result, recorded)
    }

    fn record_source_state(&mut self, source: SourceState) -> Result<()> {
        if self.state().source == source {
            return Ok(());
        }
        self.store.record(Event::Source(source))
    }
}
