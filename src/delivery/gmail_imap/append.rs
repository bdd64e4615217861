//! One append connection: sends messages, several before the first is answered, and interprets the
//! answers.
//!
//! It never selects a mailbox, so that no server announces new mail in the middle of an APPEND.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::Utc;
use log::Level;

use crate::delivery::gmail_imap::account::{GmailAccount, GmailSession};
use crate::delivery::gmail_imap::normalize;
use crate::delivery::gmail_imap::responses::rest_reason;
use crate::error::{Error, ErrorKind, Result};
use crate::imap::{
    AppendEvent, AppendRequest, AppendResponse, CommandError, LiteralForm, MailboxName,
    ResponseText, SentPart, Tag,
};
use crate::message::{LoggedMessage, Message, Uid, sent_date};
use crate::sync::Outcome;

mod interpret;
mod room;

/// A connection that is opened, and opened again, when a message needs it.
pub(super) struct AppendConnection {
    account: Arc<GmailAccount>,
    session: Option<GmailSession>,
    /// Messages that are sent and not answered, oldest first.
    open: VecDeque<OpenMessage>,
    /// Messages to send before others: the connection was lost before the server had anything of them.
    again: VecDeque<Message>,
    /// Those that were sent again already.
    second_tries: Vec<Uid>,
    /// Messages whose answer says what to change, when no other is open.
    changed: VecDeque<(Message, AppendResponse)>,
}

struct OpenMessage {
    message: Message,
    tag: Tag,
    sent: SentPart,
    form: LiteralForm,
    /// Another one was open when it was sent.
    is_pipelined: bool,
}

impl OpenMessage {
    /// Whether a server that does not expect pipelined input may lose it.
    fn may_be_lost_by_pipelining(&self) -> bool {
        self.is_pipelined || self.form == LiteralForm::NonSynchronizing
    }
}

/// A message that is no longer with the connection.
pub(super) struct Finished {
    pub(super) message: Message,
    pub(super) attempt: AppendAttempt,
}

/// The result of the attempts to append a message.
pub(super) enum AppendAttempt {
    /// The message has its outcome.
    Settled(Outcome),
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
            open: VecDeque::new(),
            again: VecDeque::new(),
            second_tries: Vec::new(),
            changed: VecDeque::new(),
        }
    }

    pub(super) fn account(&self) -> &GmailAccount {
        &self.account
    }

    pub(super) fn open(&mut self) -> Result<()> {
        self.session = Some(self.account.log_in()?);
        Ok(())
    }

    /// Logs out.
    pub(super) fn close(&mut self) {
        if let Some(GmailSession { session, .. }) = self.session.take() {
            session.logout();
        }
    }

    /// Whether no message waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// A message that must be sent before others.
    pub(super) fn take_again(&mut self) -> Option<Message> {
        self.again.pop_front()
    }

    /// The message whose APPEND was sent up to its synchronizing literal: the last one, if any.
    fn announced(&self) -> Option<&OpenMessage> {
        self.open.back().filter(|open| {
            open.form == LiteralForm::Synchronizing && open.sent == SentPart::Nothing
        })
    }

    /// Sends messages in one write; there [is room](AppendConnection::has_room_for) for all of them.
    /// Returns those that could not be sent.
    pub(super) fn send(&mut self, mut batch: Vec<Message>) -> Vec<Finished> {
        batch.iter_mut().for_each(remove_nuls);
        let unsent = |batch: Vec<Message>, error: &Error| {
            let messages = batch.into_iter();
            let attempt = || AppendAttempt::Unsent(error.clone());
            let finished = messages.map(|message| Finished {
                message,
                attempt: attempt(),
            });
            finished.collect()
        };
        let folder = match self.folder() {
            Ok(folder) => folder,
            Err(error) => return unsent(batch, &error),
        };
        let opened = if self.open.is_empty() {
            self.open_if_needed()
        } else {
            Ok(())
        };
        if let Err(error) = opened {
            return unsent(batch, &error);
        }
        let mut forms: Vec<LiteralForm> =
            batch.iter().map(|message| self.form_for(message)).collect();
        let Some(GmailSession { session, .. }) = &mut self.session else {
            let what = "the append connection is closed";
            return unsent(batch, &self.account.error(ErrorKind::Internal, what));
        };
        // A message that comes alone gains little; and a session that has ended makes none uncertain.
        let is_alone = batch.len() == 1;
        if let Some(first) = forms.first_mut()
            && self.open.is_empty()
            && (is_alone || session.has_unsolicited())
        {
            *first = LiteralForm::Synchronizing;
        }
        // The forms may be others than when there was room: meanwhile the time of silence is over, or
        // another connection has lost an APPEND. What follows the line would be taken for the message.
        let is_synchronizing = |form: &LiteralForm| *form == LiteralForm::Synchronizing;
        if let Some(last) = forms.iter().position(is_synchronizing) {
            forms.truncate(last + 1);
            self.again.extend(batch.drain(last + 1..));
        }
        let requests: Vec<AppendRequest> = batch
            .iter()
            .zip(&forms)
            .map(|(message, form)| request(message, *form, &folder))
            .collect();
        let (sent, result) = session.send_appends(&requests);
        for ((message, form), sent) in batch.into_iter().zip(forms).zip(sent) {
            self.open.push_back(OpenMessage {
                message,
                tag: sent.tag,
                sent: sent.sent,
                form,
                is_pipelined: !self.open.is_empty(),
            });
        }
        match result {
            Ok(()) => Vec::new(),
            Err(failure) => self.lost_in_sending(&failure),
        }
    }

    /// Waits for the server, and returns the messages that are no longer open.
    pub(super) fn receive(&mut self) -> Vec<Finished> {
        let Some(GmailSession { session, .. }) = &mut self.session else {
            return Vec::new();
        };
        match session.receive_append_event() {
            Ok(AppendEvent::Continue) => {
                let Some(open) = self.open.back_mut() else {
                    return Vec::new();
                };
                let (sent, result) = session.send_message(&open.message.octets);
                open.sent = sent;
                match result {
                    Ok(()) => Vec::new(),
                    Err(failure) => self.lost_in_sending(&failure),
                }
            }
            Ok(AppendEvent::Answered(tag, result)) => {
                let mut finished = Vec::new();
                self.answered(tag, result, &mut finished);
                if self.open.is_empty() {
                    self.send_changed(&mut finished);
                }
                finished
            }
            Err(failure) => self.lost(&failure),
        }
    }

    /// Waits for the answers to what was sent, and sends nothing more. What the server has not got
    /// stays to be [taken](AppendConnection::take_again).
    pub(super) fn drain(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        let is_announced = self.announced().is_some();
        if is_announced && let Some(announced) = self.open.pop_back() {
            self.again.push_back(announced.message);
        }
        while !self.open.is_empty() {
            let Some(GmailSession { session, .. }) = &mut self.session else {
                break;
            };
            match session.receive_append_event() {
                Ok(AppendEvent::Continue) => {}
                Ok(AppendEvent::Answered(tag, result)) => {
                    self.answered(tag, result, &mut finished);
                }
                Err(failure) => finished.extend(self.lost(&failure)),
            }
        }
        let changed = std::mem::take(&mut self.changed).into_iter();
        self.again.extend(changed.map(|(message, _)| message));
        if is_announced {
            // The server waits for a message: it would take a LOGOUT for its beginning.
            self.session = None;
        }
        finished
    }

    fn answered(
        &mut self,
        tag: Tag,
        result: Result<ResponseText, CommandError>,
        finished: &mut Vec<Finished>,
    ) {
        let Some(at) = self.open.iter().position(|open| open.tag == tag) else {
            return;
        };
        let Some(open) = self.open.remove(at) else {
            return;
        };
        if open.may_be_lost_by_pipelining() {
            self.account.note_answered_pipelined_append();
        }
        let OpenMessage { message, sent, .. } = open;
        self.second_tries.retain(|uid| *uid != message.uid);
        let result = match result {
            Ok(_) if sent != SentPart::All => {
                let what = "the server said OK before it could have the message";
                Err(CommandError::ConnectionLost(what.to_owned()))
            }
            result => result,
        };
        let response = AppendResponse { result, sent };
        if interpret::calls_for_change(&response, &message) {
            self.changed.push_back((message, response));
            return;
        }
        let attempt = self.interpret(&response, &message);
        finished.push(Finished { message, attempt });
    }

    /// Sends messages again, changed as the server wants; no other is open.
    fn send_changed(&mut self, finished: &mut Vec<Finished>) {
        let mut is_folder_created = false;
        while let Some((mut message, response)) = self.changed.pop_front() {
            let attempt = self.append_changed(&mut message, response, &mut is_folder_created);
            finished.push(Finished { message, attempt });
        }
    }

    /// As [`lost`](AppendConnection::lost); the server may have answered before.
    fn lost_in_sending(&mut self, failure: &CommandError) -> Vec<Finished> {
        let Some(GmailSession { session, .. }) = &mut self.session else {
            return self.lost(failure);
        };
        let mut finished = Vec::new();
        let (events, failure) = session.receive_last_append_events(failure);
        for event in events {
            if let AppendEvent::Answered(tag, result) = event {
                self.answered(tag, result, &mut finished);
            }
        }
        finished.extend(self.lost(&failure));
        finished
    }

    /// The connection is lost with all that was open on it. Each message that the server may have is
    /// uncertain; one of which it has nothing is sent again, once: servers close idle connections. Not
    /// if the account must rest.
    fn lost(&mut self, failure: &CommandError) -> Vec<Finished> {
        let has_timed_out = self
            .session
            .as_ref()
            .is_some_and(|gmail| gmail.session.has_timed_out());
        let is_pipelined = self.open.iter().any(OpenMessage::may_be_lost_by_pipelining);
        let must_rest = failure.response_text().and_then(rest_reason).is_some();
        if is_pipelined && !must_rest {
            self.account.note_lost_pipelined_append(has_timed_out);
        }
        let mut finished = Vec::new();
        for open in std::mem::take(&mut self.open) {
            let OpenMessage { message, sent, .. } = open;
            let is_second_try = self.second_tries.contains(&message.uid);
            if sent == SentPart::Nothing && !is_second_try && !must_rest {
                self.second_tries.push(message.uid);
                self.again.push_back(message);
                continue;
            }
            let result = Err(failure.clone());
            let attempt = self.interpret(&AppendResponse { result, sent }, &message);
            finished.push(Finished { message, attempt });
        }
        let changed = std::mem::take(&mut self.changed).into_iter();
        self.again.extend(changed.map(|(message, _)| message));
        self.session = None;
        finished
    }

    /// Opens another session if this one is broken, or about to end with its token.
    fn open_if_needed(&mut self) -> Result<()> {
        match self.session.take() {
            Some(gmail) if self.has_time_left(&gmail) => {
                self.session = Some(gmail);
                return Ok(());
            }
            Some(gmail) if !gmail.session.has_said_bye() => gmail.session.logout(),
            Some(_) | None => {}
        }
        self.open()
    }

    fn folder(&self) -> Result<MailboxName> {
        let what = "the name of the target folder contains a line break or a NUL";
        MailboxName::new(&self.account.folder())
            .ok_or_else(|| self.account.error(ErrorKind::Config, what))
    }
}

fn request<'a>(
    message: &'a Message,
    form: LiteralForm,
    folder: &'a MailboxName,
) -> AppendRequest<'a> {
    // Without a date, Gmail would show the message as of today.
    let sent_date = || sent_date(&message.octets, Utc::now());
    AppendRequest {
        folder,
        flags: message.flags,
        date: message.internal_date.or_else(sent_date),
        octets: &message.octets,
        form,
    }
}

/// Removes the NUL octets of a message, and says so.
pub(in crate::delivery) fn remove_nuls(message: &mut Message) {
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
}
