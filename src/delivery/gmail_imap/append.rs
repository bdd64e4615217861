//! One append connection: messages in, outcomes out, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use crate::delivery::gmail_imap::account::{GmailAccount, GmailSession};
use crate::delivery::gmail_imap::normalize;
use crate::delivery::gmail_imap::responses::{AppendResult, append_result};
use crate::error::{Error, ErrorKind, RestReason, Result};
use crate::imap::{CommandError, ResponseText, quoted_mailbox};
use crate::message::{Message, Uid};
use crate::sync::Outcome;
use crate::untrusted::Untrusted;

/// What a lane tells.
pub(super) enum WorkerReport {
    /// It is logged in and takes messages.
    Opened {
        /// Which lane.
        lane: usize,
    },
    /// A message has its outcome.
    Settled {
        /// Which lane.
        lane: usize,
        /// Which message.
        uid: Uid,
        /// What became of it.
        outcome: Outcome,
    },
    /// It will send no more messages: why. It closes once nothing more is handed to it.
    Failing {
        /// Which lane.
        lane: usize,
        /// Why.
        error: Error,
    },
    /// It has ended.
    Closed {
        /// Which lane.
        lane: usize,
        /// What was handed to it and not sent.
        unsent: Vec<Message>,
    },
}

/// One append connection, on a thread of its own. It has no folder open, so that no server tells
/// it of new mail in the middle of an APPEND.
pub(super) struct AppendWorker {
    number: usize,
    account: Arc<GmailAccount>,
    reports: Sender<WorkerReport>,
    /// Set when the pass has failed: nothing more is sent.
    stop: Arc<AtomicBool>,
    logged_in: Option<GmailSession>,
    reported_closed: bool,
}

/// What came of one attempt to append.
enum AppendAttempt {
    /// The message has its outcome, and the lane goes on.
    Settled(Outcome),
    /// The connection was dead before the message was asked for, and so may be the outcome's reason.
    StaleConnection(Outcome),
    /// The message has its outcome, and the lane ends.
    Doubtful(Outcome, Error),
    /// The message was not stored and nothing is wrong with it; the lane ends.
    Unsent(Error),
}

impl AppendWorker {
    pub(super) fn new(
        number: usize,
        account: Arc<GmailAccount>,
        reports: Sender<WorkerReport>,
        stop: Arc<AtomicBool>,
    ) -> AppendWorker {
        AppendWorker {
            number,
            account,
            reports,
            stop,
            logged_in: None,
            reported_closed: false,
        }
    }

    /// Takes messages until there are no more, or the connection cannot be had.
    pub(super) fn run(mut self, work: &Receiver<Message>) {
        let mut unsent = Vec::new();
        if let Err(error) = self.open() {
            self.fail(error, work, &mut unsent);
        }
        for message in work {
            self.process(message, work, &mut unsent);
        }
        if let Some(GmailSession { session, .. }) = self.logged_in.take() {
            session.logout();
        }
        self.reported_closed = true;
        self.report(WorkerReport::Closed {
            lane: self.number,
            unsent,
        });
    }

    fn open(&mut self) -> Result<()> {
        self.logged_in = Some(self.account.log_in()?);
        self.report(WorkerReport::Opened { lane: self.number });
        Ok(())
    }

    fn process(
        &mut self,
        mut message: Message,
        work: &Receiver<Message>,
        unsent: &mut Vec<Message>,
    ) {
        if self.stop.load(Ordering::Relaxed) {
            unsent.push(message);
            return;
        }
        match self.append(&mut message) {
            AppendAttempt::Settled(outcome) | AppendAttempt::StaleConnection(outcome) => {
                self.settle(message.uid, outcome);
            }
            // The pass must not seem finished before its failure is known: the error comes first.
            AppendAttempt::Doubtful(outcome, error) => {
                self.report_failing(error);
                self.settle(message.uid, outcome);
                unsent.extend(work);
            }
            AppendAttempt::Unsent(error) => {
                unsent.push(message);
                self.fail(error, work, unsent);
            }
        }
    }

    /// Gives the messages back: those that are handed over until this is heard as well.
    fn fail(&self, error: Error, work: &Receiver<Message>, unsent: &mut Vec<Message>) {
        self.report_failing(error);
        unsent.extend(work);
    }

    fn report_failing(&self, error: Error) {
        self.report(WorkerReport::Failing {
            lane: self.number,
            error,
        });
    }

    fn settle(&self, uid: Uid, outcome: Outcome) {
        self.report(WorkerReport::Settled {
            lane: self.number,
            uid,
            outcome,
        });
    }

    fn report(&self, report: WorkerReport) {
        // Nobody listens any more when the whole run has ended.
        let _ = self.reports.send(report);
    }

    /// Logs in anew where the session is broken, or is about to be ended with its token.
    fn ensure_logged_in(&mut self) -> Result<()> {
        if let Some(logged_in) = self.logged_in.take() {
            if logged_in.session.is_usable() && !self.account.expires_soon(&logged_in) {
                self.logged_in = Some(logged_in);
                return Ok(());
            }
            logged_in.session.logout();
        }
        self.logged_in = Some(self.account.log_in()?);
        Ok(())
    }

    /// Appends a message, and says what became of it.
    fn append(&mut self, message: &mut Message) -> AppendAttempt {
        let nuls = normalize::remove_nuls(&mut message.octets);
        if nuls > 0 {
            log::warn!(
                "message {} {}: {nuls} NUL octets are left out, because Gmail takes none",
                message.uid,
                message.id
            );
        }
        match self.try_append(message) {
            // Servers end quiet connections; that is no fault of the message.
            AppendAttempt::StaleConnection(_) => self.try_append(message),
            attempt => attempt,
        }
    }

    /// Sends the message, a second time where the answer tells what to change.
    fn try_append(&mut self, message: &mut Message) -> AppendAttempt {
        if let Err(error) = self.ensure_logged_in() {
            return AppendAttempt::Unsent(error);
        }
        let mut created = false;
        let mut mended = false;
        loop {
            let answer = self.send(message);
            match append_result(&answer) {
                AppendResult::MailboxMissing if !created => {
                    created = true;
                    if let Err(end) = self.create_folder() {
                        return end;
                    }
                }
                AppendResult::Bad if !mended && normalize::has_bare_line_ends(&message.octets) => {
                    mended = true;
                    log::warn!(
                        "message {} {}: Gmail does not take its line ends; it is sent once more \
                         with CRLF",
                        message.uid,
                        message.id
                    );
                    message.octets = normalize::with_crlf(&message.octets);
                }
                verdict => return self.attempt_for(verdict, &answer, message),
            }
            if !self.is_usable() {
                return AppendAttempt::Settled(not_stored(&answer));
            }
        }
    }

    fn send(&mut self, message: &Message) -> Result<ResponseText, CommandError> {
        let Some(logged_in) = &mut self.logged_in else {
            return Err(CommandError::ConnectionLost(
                "the connection is closed".to_owned(),
            ));
        };
        logged_in.session.append(
            &self.account.config().folder,
            message.flags,
            message.internal_date,
            &message.octets,
        )
    }

    fn attempt_for(
        &self,
        verdict: AppendResult,
        answer: &Result<ResponseText, CommandError>,
        message: &Message,
    ) -> AppendAttempt {
        let outcome = match verdict {
            AppendResult::Stored(uid) => Outcome::Appended(uid),
            AppendResult::WithoutAppendUid => {
                Outcome::Uncertain("Gmail says OK but not where the message is".to_owned())
            }
            AppendResult::TooLarge => Outcome::Refused(why(answer)),
            AppendResult::MailboxMissing | AppendResult::No | AppendResult::Bad => {
                Outcome::Parked(why(answer))
            }
            AppendResult::ConnectionLost => return self.connection_lost(answer, message),
            AppendResult::OverQuota => {
                let error = self.account.rest_error(RestReason::Quota, why(answer));
                return self.fail_unless_sent(answer, message, error);
            }
            AppendResult::TooManyConnections => {
                let error = self
                    .account
                    .rest_error(RestReason::Connections, why(answer));
                return self.fail_unless_sent(answer, message, error);
            }
            AppendResult::ServerTrouble => {
                let error = self.account.error(ErrorKind::Unavailable, why(answer));
                return AppendAttempt::Unsent(error.during("appending a message"));
            }
        };
        AppendAttempt::Settled(outcome)
    }

    /// The connection ended: before the whole message was sent it cannot be stored.
    fn connection_lost(
        &self,
        answer: &Result<ResponseText, CommandError>,
        message: &Message,
    ) -> AppendAttempt {
        if self.may_be_stored(message) {
            return AppendAttempt::Settled(Outcome::Uncertain(format!(
                "{} after the message was sent",
                why(answer)
            )));
        }
        let outcome = not_stored(answer);
        if self.continuation_was_received() {
            AppendAttempt::Settled(outcome)
        } else {
            AppendAttempt::StaleConnection(outcome)
        }
    }

    /// A tagged refusal says that nothing was stored; a BYE after the whole message does not.
    fn fail_unless_sent(
        &self,
        answer: &Result<ResponseText, CommandError>,
        message: &Message,
        error: Error,
    ) -> AppendAttempt {
        let is_refusal = matches!(answer, Err(failure) if failure.leaves_session_usable());
        if !is_refusal && self.may_be_stored(message) {
            AppendAttempt::Doubtful(Outcome::Uncertain(why(answer)), error)
        } else {
            AppendAttempt::Unsent(error)
        }
    }

    fn may_be_stored(&self, message: &Message) -> bool {
        message.octets.is_empty()
            || self
                .logged_in
                .as_ref()
                .is_some_and(|logged_in| logged_in.session.transcript().literal_was_sent())
    }

    /// Says whether the server sent its `+` for the message.
    fn continuation_was_received(&self) -> bool {
        let lines = self
            .logged_in
            .as_ref()
            .map(|logged_in| logged_in.session.transcript().last_lines());
        lines.is_some_and(|lines| lines.iter().any(|line| line.starts_with(b"+")))
    }

    fn is_usable(&self) -> bool {
        self.logged_in
            .as_ref()
            .is_some_and(|logged_in| logged_in.session.is_usable())
    }

    /// Creates the target folder; a server that will not, says why when it is asked again.
    fn create_folder(&mut self) -> Result<(), AppendAttempt> {
        let folder = &self.account.config().folder;
        let (Some(logged_in), Some(name)) = (&mut self.logged_in, quoted_mailbox(folder)) else {
            return Ok(());
        };
        log::info!("creating the folder {:?} at Gmail", Untrusted::new(folder));
        match logged_in.session.command(&format!("CREATE {name}")) {
            Err(failure) if failure.leaves_session_usable() => {
                log::warn!(
                    "creating the folder {:?}: {failure}",
                    Untrusted::new(folder)
                );
                Ok(())
            }
            Err(failure) => Err(AppendAttempt::Settled(not_stored(&Err(failure)))),
            Ok(_) => Ok(()),
        }
    }
}

/// A lane that panics must be noticed: its messages are in doubt.
impl Drop for AppendWorker {
    fn drop(&mut self) {
        if self.reported_closed {
            return;
        }
        self.report(WorkerReport::Failing {
            lane: self.number,
            error: self.account.error(
                ErrorKind::Internal,
                "an append connection ended unexpectedly",
            ),
        });
        self.report(WorkerReport::Closed {
            lane: self.number,
            unsent: Vec::new(),
        });
    }
}

fn why(answer: &Result<ResponseText, CommandError>) -> String {
    match answer {
        Ok(reply) => reply.to_string(),
        Err(failure) => failure.to_string(),
    }
}

fn not_stored(answer: &Result<ResponseText, CommandError>) -> Outcome {
    Outcome::Unsent(format!("not stored: {}", why(answer)))
}
