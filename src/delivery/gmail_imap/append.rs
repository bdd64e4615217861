//! One append connection: appends messages and interprets the responses.
//!
//! It never selects a mailbox, so that no server announces new mail in the middle of an APPEND.

use std::sync::Arc;

use chrono::Utc;
use log::Level;

use crate::delivery::gmail_imap::account::{GmailAccount, GmailSession};
use crate::delivery::gmail_imap::normalize;
use crate::delivery::gmail_imap::responses::{AppendResult, append_result, rest_reason};
use crate::error::{Error, ErrorKind, RestReason, Result};
use crate::imap::{AppendResponse, Command, CommandError, MailboxName, Session, StorageQuota};
use crate::message::{LoggedMessage, Message, sent_date};
use crate::sync::Outcome;
use crate::untrusted::Untrusted;

/// A connection that is opened, and opened again, when a message needs it.
pub(super) struct AppendConnection {
    account: Arc<GmailAccount>,
    session: Option<GmailSession>,
}

/// The result of one attempt to append a message.
pub(super) enum AppendAttempt {
    /// The message has its outcome.
    Settled(Outcome),
    /// The message has its outcome, but the connection was lost before the server asked for the
    /// message, which need not be the reason.
    StaleConnection(Outcome),
    /// The message has its outcome, and the next one would fail with this error.
    SettledAndFailed(Outcome, Error),
    /// The message was not stored and is not the reason.
    Unsent(Error),
}

impl AppendConnection {
    pub(super) fn new(account: Arc<GmailAccount>) -> AppendConnection {
        AppendConnection {
            account,
            session: None,
        }
    }

    pub(super) fn account(&self) -> &GmailAccount {
        &self.account
    }

    pub(super) fn open(&mut self) -> Result<()> {
        self.session = Some(self.account.log_in()?);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        if let Some(GmailSession { session, .. }) = self.session.take() {
            session.logout();
        }
    }

    pub(super) fn append(&mut self, message: &mut Message) -> AppendAttempt {
        let nuls = normalize::remove_nuls(&mut message.octets);
        if nuls > 0 {
            let logged = LoggedMessage::from(&*message);
            logged.log(
                Level::Warn,
                format_args!(
                    "{logged}: removed {nuls} NUL octets, which Gmail does not accept; the message \
                     at the source keeps them"
                ),
            );
        }
        match self.try_append(message) {
            // Servers close idle connections: the message is not the reason.
            AppendAttempt::StaleConnection(_) => self.try_append(message),
            attempt => attempt,
        }
    }

    fn try_append(&mut self, message: &mut Message) -> AppendAttempt {
        let mut gmail = match self.take_session() {
            Ok(gmail) => gmail,
            Err(error) => return AppendAttempt::Unsent(error),
        };
        let attempt = self.append_in(&mut gmail.session, message);
        self.session = Some(gmail);
        attempt
    }

    /// The session; a new one if it is broken, or about to end with its token.
    fn take_session(&mut self) -> Result<GmailSession> {
        match self.session.take() {
            Some(gmail) if gmail.session.is_usable() && !self.account.expires_soon(&gmail) => {
                return Ok(gmail);
            }
            Some(gmail) => gmail.session.logout(),
            None => {}
        }
        self.account.log_in()
    }

    /// Sends the message, and sends it again if the response says what to change.
    fn append_in(&self, session: &mut Session, message: &mut Message) -> AppendAttempt {
        let mut is_folder_created = false;
        let mut is_normalized = false;
        // Without a date, Gmail would show the message as of today.
        let sent_date = || sent_date(&message.octets, Utc::now());
        let date = message.internal_date.or_else(sent_date);
        let Some(folder) = MailboxName::new(&self.account.config().folder) else {
            let what = "the name of the target folder contains a line break or a NUL";
            return AppendAttempt::Unsent(self.account.error(ErrorKind::Config, what));
        };
        loop {
            let response = session.append(&folder, message.flags, date, &message.octets);
            match append_result(&response.result) {
                AppendResult::MailboxMissing if !is_folder_created => {
                    is_folder_created = true;
                    match self.create_folder(session, &folder) {
                        Err(failure) if failure.leaves_session_usable() => {
                            return AppendAttempt::Unsent(self.account.command_error(&failure));
                        }
                        Err(failure) => {
                            return AppendAttempt::Settled(not_stored(&failure.to_string()));
                        }
                        Ok(()) => {}
                    }
                }
                AppendResult::Bad
                    if !is_normalized && normalize::has_bare_line_ends(&message.octets) =>
                {
                    is_normalized = true;
                    let logged = LoggedMessage::from(&*message);
                    logged.log(
                        Level::Warn,
                        format_args!(
                            "{logged}: Gmail rejected it, perhaps for its line ends; sending it \
                             again with CRLF"
                        ),
                    );
                    message.octets = normalize::with_crlf(&message.octets);
                }
                result => return self.attempt_for(result, &response, session, message),
            }
            if !session.is_usable() {
                return AppendAttempt::Settled(not_stored(&text_of(&response)));
            }
        }
    }

    fn attempt_for(
        &self,
        result: AppendResult,
        response: &AppendResponse,
        session: &mut Session,
        message: &Message,
    ) -> AppendAttempt {
        let why = text_of(response);
        // A tagged NO or BAD says that nothing was stored; a BYE does not.
        let is_tagged = matches!(&response.result, Err(failure) if failure.leaves_session_usable());
        let is_uncertain = !is_tagged && response.message_was_sent;
        let rest = |error: Error| {
            if is_uncertain {
                AppendAttempt::SettledAndFailed(Outcome::Uncertain(why.clone()), error)
            } else {
                AppendAttempt::Unsent(error)
            }
        };
        AppendAttempt::Settled(match result {
            AppendResult::Stored(uid) => Outcome::Appended(uid),
            AppendResult::WithoutAppendUid => {
                Outcome::Uncertain("Gmail sent OK, but no APPENDUID".to_owned())
            }
            AppendResult::TooLarge => Outcome::Refused(why),
            AppendResult::MailboxMissing | AppendResult::No | AppendResult::Bad => {
                Outcome::Parked(why)
            }
            AppendResult::ConnectionLost if response.message_was_sent => {
                Outcome::Uncertain(format!("{why} after the message was sent"))
            }
            AppendResult::ConnectionLost if response.was_asked_for => not_stored(&why),
            AppendResult::ConnectionLost => {
                return AppendAttempt::StaleConnection(not_stored(&why));
            }
            AppendResult::StorageFull | AppendResult::OverQuota => {
                let quota = self.storage_quota(session);
                let octets = u64::try_from(message.octets.len()).unwrap_or(u64::MAX);
                let is_full = result == AppendResult::StorageFull
                    || quota.is_some_and(|quota| quota.is_full_for(octets));
                let reason = if is_full {
                    RestReason::StorageFull
                } else {
                    RestReason::Quota
                };
                return rest(self.account.quota_error(reason, &why, quota));
            }
            AppendResult::BandwidthExceeded => {
                return rest(self.account.rest_error(RestReason::Quota, &why));
            }
            AppendResult::TooManyConnections => {
                return rest(self.account.rest_error(RestReason::Connections, &why));
            }
            AppendResult::ServerTrouble => {
                let error = self.account.error(ErrorKind::Unavailable, &why);
                return AppendAttempt::Unsent(error.during("appending a message"));
            }
        })
    }

    /// The storage of the account, if the connection still works and Gmail tells.
    fn storage_quota(&self, session: &mut Session) -> Option<StorageQuota> {
        let folder = &self.account.config().folder;
        session
            .is_usable()
            .then(|| session.storage_quota(folder))
            .flatten()
    }

    /// Creates the target folder. If the server rejects that, the next APPEND returns the reason.
    fn create_folder(&self, session: &mut Session, name: &MailboxName) -> Result<(), CommandError> {
        let folder = &self.account.config().folder;
        log::info!("creating the folder {:?} at Gmail", Untrusted::new(folder));
        match session.command(Command::Create(name.clone())) {
            Err(failure) if !failure.leaves_session_usable() => Err(failure),
            // It concerns the whole account.
            Err(failure) if failure.response_text().and_then(rest_reason).is_some() => Err(failure),
            Err(failure) => {
                log::warn!(
                    "Gmail did not create the folder {:?}: {failure}; create it there, or correct \
                     target_folder",
                    Untrusted::new(folder)
                );
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

fn text_of(response: &AppendResponse) -> String {
    match &response.result {
        Ok(text) => text.to_string(),
        Err(failure) => failure.to_string(),
    }
}

fn not_stored(why: &str) -> Outcome {
    Outcome::Unsent(format!("not stored: {why}"))
}
