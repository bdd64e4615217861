//! What the answer to an APPEND means for its message.

use crate::delivery::gmail_imap::account::GmailSession;
use crate::delivery::gmail_imap::append::{AppendAttempt, AppendConnection, request};
use crate::delivery::gmail_imap::normalize;
use crate::delivery::gmail_imap::responses::{AppendResult, append_result, rest_reason};
use crate::error::{Error, ErrorKind, RestReason};
use crate::imap::{
    AppendResponse, Command, CommandError, LiteralForm, MailboxName, Session, StorageQuota,
};
use crate::message::{LoggedMessage, Message};
use crate::sync::{Outcome, Receipt};
use crate::untrusted::Untrusted;
use log::Level;

/// Whether the message may be accepted after a change: of its line ends, or if its folder is created.
pub(super) fn calls_for_change(response: &AppendResponse, message: &Message) -> bool {
    match append_result(&response.result) {
        AppendResult::MailboxMissing => true,
        AppendResult::Bad => normalize::has_bare_line_ends(&message.octets),
        _ => false,
    }
}

impl AppendConnection {
    /// Does what an answer [calls for](calls_for_change), and sends the message again; the folder is
    /// created once for several messages.
    pub(super) fn append_changed(
        &mut self,
        message: &mut Message,
        mut response: AppendResponse,
        is_folder_created: &mut bool,
    ) -> AppendAttempt {
        let folder = match self.folder() {
            Ok(folder) => folder,
            Err(error) => return AppendAttempt::Unsent(error),
        };
        let mut was_missing = false;
        let mut is_normalized = false;
        loop {
            let Some(GmailSession { session, .. }) = &mut self.session else {
                return AppendAttempt::Settled(not_stored(&text_of(&response)));
            };
            match append_result(&response.result) {
                AppendResult::MailboxMissing if *is_folder_created && !was_missing => {
                    was_missing = true;
                }
                AppendResult::MailboxMissing if !*is_folder_created => {
                    (was_missing, *is_folder_created) = (true, true);
                    match create_folder(session, &self.account.folder(), &folder) {
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
                    log_changed_line_ends(message);
                    message.octets = normalize::with_crlf(&message.octets);
                }
                _ => return self.interpret(&response, message),
            }
            if !session.is_usable() {
                return AppendAttempt::Settled(not_stored(&text_of(&response)));
            }
            let request = request(message, LiteralForm::Synchronizing, &folder);
            response = session.append(&folder, request.flags, request.date, &message.octets);
        }
    }

    /// The result of an attempt that nothing can be changed about.
    pub(super) fn interpret(
        &mut self,
        response: &AppendResponse,
        message: &Message,
    ) -> AppendAttempt {
        let why = text_of(response);
        // A tagged NO or BAD says that nothing was stored; a BYE does not.
        let is_tagged = matches!(&response.result, Err(failure) if failure.leaves_session_usable());
        let is_uncertain = !is_tagged && response.message_was_sent();
        let rest = |error: Error| {
            if is_uncertain {
                AppendAttempt::SettledAndFailed(Outcome::Uncertain(why.clone()), error)
            } else {
                AppendAttempt::Unsent(error)
            }
        };
        AppendAttempt::Settled(match append_result(&response.result) {
            AppendResult::Stored(uid) => Outcome::Delivered(Receipt::Appended(uid)),
            AppendResult::WithoutAppendUid => {
                Outcome::Uncertain("Gmail sent OK, but no APPENDUID".to_owned())
            }
            AppendResult::TooLarge => Outcome::Refused(why),
            AppendResult::MailboxMissing | AppendResult::No | AppendResult::Bad => {
                Outcome::Parked(why)
            }
            AppendResult::ConnectionLost if response.message_was_sent() => {
                Outcome::Uncertain(format!("{why} after the message was sent"))
            }
            AppendResult::ConnectionLost => not_stored(&why),
            result @ (AppendResult::StorageFull | AppendResult::OverQuota) => {
                let quota = self.storage_quota();
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
    fn storage_quota(&mut self) -> Option<StorageQuota> {
        let folder = self.account.folder();
        let GmailSession { session, .. } = self.session.as_mut()?;
        // The server would take the command for the message that it waits for.
        (session.is_usable() && !session.has_announced())
            .then(|| session.storage_quota(&folder))
            .flatten()
    }
}

/// Creates the target folder. If the server rejects that, the next APPEND returns the reason.
fn create_folder(
    session: &mut Session,
    folder: &str,
    name: &MailboxName,
) -> Result<(), CommandError> {
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

fn text_of(response: &AppendResponse) -> String {
    match &response.result {
        Ok(text) => text.to_string(),
        Err(failure) => failure.to_string(),
    }
}

fn not_stored(why: &str) -> Outcome {
    Outcome::Unsent(format!("not stored: {why}"))
}

fn log_changed_line_ends(message: &Message) {
    let logged = LoggedMessage::from(message);
    logged.log(
        Level::Warn,
        format_args!(
            "{logged}: Gmail rejected it, perhaps for its line ends; sending it again with CRLF"
        ),
    );
}
