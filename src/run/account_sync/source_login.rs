//! Logging in to the source, and the delays after it rejected the credentials.

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::Mailbox;
use crate::retry::REJECTED_CREDENTIALS;
use crate::run::account_sync::AccountSync;
use crate::run::and_also;
use crate::source::ImapSource;
use crate::state::{Event, SourceState};
use crate::timestamp::format_time;

impl AccountSync<'_> {
    /// Logs in to the source, unless it rejected the credentials a moment ago: a server that bans
    /// clients after wrong passwords would lock out the owner.
    pub(super) fn log_in_to_source(&mut self) -> Result<(ImapSource, Mailbox)> {
        let now = self.now();
        if let Some(until) = self.login_delayed_until(now) {
            return Err(self.login_delayed_error(until));
        }
        let options = self.context.connection_options();
        let source = &self.config.source;
        let password = source.password.read();
        let opened = password.and_then(|password| ImapSource::open(source, password, options));
        let opened = self.record_rejected_login(opened, now)?;
        self.record_source_state(SourceState {
            wrong_uid_next: self.state().source.wrong_uid_next,
            ..SourceState::default()
        })?;
        Ok(opened)
    }

    /// Until when the credentials must not be tried, if they were rejected.
    fn login_delayed_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let source = &self.state().source;
        let is_unchanged = source.credentials == Some(self.config.credentials_stamp());
        let max = now + REJECTED_CREDENTIALS.max_delay();
        let retry_after = source.retry_after.filter(|_| is_unchanged);
        retry_after.filter(|until| *until > now && *until <= max)
    }

    fn login_delayed_error(&self, until: DateTime<Utc>) -> Error {
        let place = self.config.source.server.address();
        let what = match self.state().source.rejected_logins {
            0 | 1 => "the last log-in was rejected".to_owned(),
            several => format!("the last {several} log-ins were rejected"),
        };
        Error::new(Side::Host, ErrorKind::Rejected, place, what)
            .during("waiting to log in")
            .remedy(format_args!(
                "correct source_user or the password; will retry at {}, or at once when the \
                 configuration changes",
                format_time(until)
            ))
    }

    /// Records a log-in that the source rejected; other results pass through.
    pub(super) fn record_rejected_login<T>(
        &mut self,
        result: Result<T>,
        now: DateTime<Utc>,
    ) -> Result<T> {
        let is_rejected =
            |error: &Error| error.side() == Side::Source && error.kind() == ErrorKind::Rejected;
        if !result.as_ref().is_err_and(is_rejected) {
            return result;
        }
        let rejected_logins = self.state().source.rejected_logins.saturating_add(1);
        let recorded = self.record_source_state(SourceState {
            retry_after: Some(now + REJECTED_CREDENTIALS.delay_after(rejected_logins)),
            rejected_logins,
            credentials: Some(self.config.credentials_stamp()),
            ..self.state().source.clone()
        });
        and_also(result, recorded)
    }

    fn record_source_state(&mut self, source: SourceState) -> Result<()> {
        if self.state().source == source {
            return Ok(());
        }
        self.store.record(Event::Source(source))
    }
}
