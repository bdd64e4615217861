//! Logging in to the source, and the delays after it rejected the credentials.

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::message::Mailbox;
use crate::retry::REJECTED_CREDENTIALS;
use crate::run::account_sync::AccountSync;
use crate::run::merge_errors;
use crate::source::ImapSource;
use crate::state::{Event, SourceState};
use crate::timestamp::format_time;

impl AccountSync<'_> {
    /// Logs in to the source, unless it rejected the credentials a moment ago: a server that bans
    /// clients after wrong passwords would lock out the owner.
    pub(super) fn log_in_to_source(&mut self) -> Result<(ImapSource, Mailbox)> {
        let now = self.now();
        if let Some(until) =
            login_delayed_until(&self.state().source, &self.config.credentials_stamp(), now)
        {
            return Err(self.login_delayed_error(until));
        }
        let options = self.context.connection_options();
        let source = &self.config.source;
        let opened = source
            .password
            .read()
            .and_then(|password| ImapSource::open(source, password, options));
        match opened {
            Ok(opened) => {
                self.record_source_state(SourceState::default())?;
                Ok(opened)
            }
            Err(error) => Err(self.record_rejected_login(error, now)),
        }
    }

    fn login_delayed_error(&self, until: DateTime<Utc>) -> Error {
        Error::new(
            Side::Host,
            ErrorKind::Rejected,
            self.config.source.server.address(),
            match self.state().source.rejected_logins {
                0 | 1 => "the last log-in was rejected".to_owned(),
                several => format!("the last {several} log-ins were rejected"),
            },
        )
        .during("waiting to log in")
        .remedy(format_args!(
            "correct source_user or the password; will retry at {}, or at once when the \
             configuration changes",
            format_time(until)
        ))
    }

    /// Records a log-in that the source rejected; other errors pass through.
    pub(super) fn record_rejected_login(&mut self, error: Error, now: DateTime<Utc>) -> Error {
        if error.kind() != ErrorKind::Rejected {
            return error;
        }
        let rejected_logins = self.state().source.rejected_logins.saturating_add(1);
        let recorded = self.record_source_state(SourceState {
            retry_after: Some(now + REJECTED_CREDENTIALS.delay_after(rejected_logins)),
            rejected_logins,
            credentials: Some(self.config.credentials_stamp()),
        });
        match recorded {
            Ok(()) => error,
            Err(other) => merge_errors(error, other),
        }
    }

    fn record_source_state(&mut self, source: SourceState) -> Result<()> {
        if self.state().source == source {
            return Ok(());
        }
        self.store.record(Event::Source(source))
    }
}

/// Until when these credentials must not be tried, if they were rejected.
fn login_delayed_until(
    source: &SourceState,
    credentials_stamp: &str,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let is_unchanged = source.credentials.as_deref() == Some(credentials_stamp);
    source.retry_after.filter(|until| {
        is_unchanged && *until > now && *until <= now + REJECTED_CREDENTIALS.max_delay()
    })
}
