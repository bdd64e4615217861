//! Logging in to the source, and what its refusals teach.

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result, Side};

use crate::message::Mailbox;
use crate::retry::REJECTED_CREDENTIALS;
use crate::run::account_sync::options::connection_options;
use crate::run::account_sync::{AccountSync, worse_of};
use crate::source::ImapSource;
use crate::state::{Event, SourceState};
use crate::timestamp::format_time;

impl AccountSync<'_> {
    /// Logs in to the source, unless it refused us a moment ago: a server that bans who comes too
    /// often with a wrong password would lock out its own owner.
    pub(super) fn log_in_to_source(&mut self) -> Result<Mailbox> {
        let now = self.now();
        let before = &self.store.state().source;
        if let Some(until) = must_wait(before, &self.config.credentials_stamp(), now) {
            return Err(self.login_delayed_error(before, until));
        }
        let options = connection_options(self.context);
        let source = &self.config.source;
        let opened = source
            .password
            .read()
            .and_then(|password| ImapSource::open_with_options(source, password, options));
        match opened {
            Ok((source, mailbox)) => {
                self.source = Some(source);
                self.record_source_state(SourceState::default())?;
                Ok(mailbox)
            }
            Err(error) => Err(self.record_rejected_login(error, now)),
        }
    }

    fn login_delayed_error(&self, before: &SourceState, until: DateTime<Utc>) -> Error {
        let until = format_time(until);
        Error::new(
            Side::Host,
            ErrorKind::Rejected,
            self.config.source.server.address(),
            match before.rejected_logins {
                0 | 1 => "the last log-in was refused".to_owned(),
                several => format!("the last {several} log-ins were refused"),
            },
        )
        .during("waiting to log in")
        .remedy(format_args!(
            "correct source_user or the password: the next try is at {until}, or at once when the \
             configuration changes"
        ))
    }

    /// Remembers a refused log-in at the source; gives the error back.
    pub(super) fn record_rejected_login(&mut self, error: Error, now: DateTime<Utc>) -> Error {
        if error.kind() != ErrorKind::Rejected {
            return error;
        }
        let rejected_logins = self.state().source.rejected_logins.saturating_add(1);
        let remembered = self.record_source_state(SourceState {
            retry_after: Some(now + REJECTED_CREDENTIALS.delay_after(rejected_logins)),
            rejected_logins,
            credentials: Some(self.config.credentials_stamp()),
        });
        match worse_of::<()>(Err(error.clone()), remembered) {
            Err(worse) => worse,
            Ok(()) => error,
        }
    }

    fn record_source_state(&mut self, source: SourceState) -> Result<()> {
        if self.store.state().source == source {
            return Ok(());
        }
        self.store.record(Event::Source(source))
    }
}

fn must_wait(source: &SourceState, stamp: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let is_unchanged = source.credentials.as_deref() == Some(stamp);
    source.retry_after.filter(|until| {
        is_unchanged && *until > now && *until <= now + REJECTED_CREDENTIALS.max_delay()
    })
}
