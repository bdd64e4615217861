//! EXAMINE: opening a folder for reading only (RFC 3501 6.3.2).

use std::time::Instant;

use imap_proto::{MailboxDatum, Response, StatusAttribute};
use log::debug;

use crate::error::{Error, ErrorKind, Result};
use crate::imap::fetch::read_attributes;
use crate::imap::response::{StatusCondition, status_response};
use crate::imap::session::SentAhead;
use crate::imap::{
    Command, CommandError, CommandResult, ExamineError, FetchItems, FetchedUids, LoginPipeline,
    MailboxName, Responses, Session,
};
use crate::message::{Mailbox, Uid, UidValidity};
use crate::suggest::suggest;
use crate::timeouts::PIPELINED_TIMEOUT;
use crate::untrusted::Untrusted;

/// Folders listed in an error message; more would hide the message.
const MAX_FOLDERS_SHOWN: usize = 10;

/// How often a UIDVALIDITY may be another one while a folder is opened.
const MAX_UID_VALIDITIES: usize = 3;

impl Session {
    /// Opens a folder for reading only.
    ///
    /// # Errors
    /// The folder does not exist or cannot be opened, the server does not say its UIDVALIDITY or
    /// how many messages it holds, or the connection broke.
    pub fn examine(&mut self, folder: &str) -> Result<Mailbox> {
        let result = self.try_examine(folder);
        self.explain(folder, result)
    }

    /// As [`examine`](Session::examine), and identifies this client in the same pipeline where the
    /// server takes ID: 163.com, 126.com and yeah.net open no folder otherwise ("Unsafe Login").
    pub(crate) fn identify_and_examine(&mut self, folder: &str) -> Result<Mailbox> {
        let result = self.try_identify_and_examine(folder);
        self.explain(folder, result)
    }

    fn explain(&mut self, folder: &str, result: Result<Mailbox, ExamineError>) -> Result<Mailbox> {
        result.map_err(|error| match error {
            ExamineError::Unusable(error) => error,
            ExamineError::Command(error) => self
                .explain_examine_error(folder, &error)
                .during(opening(folder)),
        })
    }

    /// Takes the responses to the EXAMINE that was sent together with the log-in, and to the listing behind
    /// it, if they were. If the first was rejected, or one does not come, pipelining may be the cause.
    fn try_identify_and_examine(&mut self, folder: &str) -> Result<Mailbox, ExamineError> {
        let Some(ahead) = self.sent_ahead.take() else {
            return self.try_identify_and_examine_now(folder);
        };
        let (examined, listed) = self.receive_ahead(&ahead).inspect_err(|error| {
            debug!("what was sent with the log-in: {error}");
            if error.may_be_due_to_pipelining() {
                let violates_protocol = self.client.violates_protocol();
                self.login_pipeline = LoginPipeline::after(error, violates_protocol);
            }
        })?;
        self.login_pipeline = LoginPipeline::Answered;
        let Some(examined) = examined else {
            let mailbox = self.try_identify_and_examine_now(folder)?;
            self.distrust_pipelines();
            return Ok(mailbox);
        };
        if let Some(Err(CommandError::Bad(_))) = listed {
            self.distrust_pipelines();
        }
        let name = MailboxName::new(folder).ok_or_else(|| self.invalid_name(folder))?;
        // If UIDNEXT must be asked for, the listing is older than that.
        let is_complete = ExamineData::parse(&examined).uid_next.is_some();
        let mailbox = self.complete_examine(folder, &name, &examined)?;
        self.listed_ahead = listed.and_then(Result::ok).filter(|_| is_complete);
        Ok(mailbox)
    }

    fn distrust_pipelines(&mut self) {
        self.login_pipeline = LoginPipeline::Misunderstood;
        self.disable_pipelining();
    }

    /// Receives both responses before another command is sent, whatever they are. None of the first if it
    /// does not open the folder: it was rejected, it lacks something, or that came with the second.
    fn receive_ahead(
        &mut self,
        ahead: &SentAhead,
    ) -> Result<(Option<Responses>, Option<CommandResult>), CommandError> {
        let deadline = Instant::now() + PIPELINED_TIMEOUT;
        let connection = self.client.connection();
        connection.set_response_deadline(Some(deadline));
        let examined = self.receive_result(ahead.examine);
        self.client.connection().set_response_deadline(None);
        let examined = usable(examined)?;
        let listing = ahead.listing;
        let is_in_order = listing.is_none_or(|tag| !self.client.is_answered(tag));
        let listed = match listing {
            Some(tag) => {
                self.client.connection().restart_clock();
                Some(usable(self.receive_result(tag))?)
            }
            None => None,
        };
        if let Err(error) = &examined {
            debug!("the EXAMINE that was sent with the log-in: {error}");
        }
        let is_whole = |examined: &Responses| {
            let examined = ExamineData::parse(examined);
            examined.uid_validity.is_some() && examined.exists.is_some()
        };
        let examined = examined.ok().filter(|it| is_in_order && is_whole(it));
        Ok((examined, listed))
    }

    /// Whatever the server responds to ID, the folder decides.
    fn try_identify_and_examine_now(&mut self, folder: &str) -> Result<Mailbox, ExamineError> {
        if !self.announces_id() {
            let result = self.try_examine(folder);
            // Its capabilities after the log-in may not be known yet.
            if !matches!(&result, Err(ExamineError::Command(CommandError::No(_))))
                || !self.capabilities()?.has("ID")
            {
                return result;
            }
            self.identify_with_next_command();
            return self.try_examine(folder);
        }
        self.identify_with_next_command();
        self.try_examine(folder)
    }

    /// As [`examine`](Session::examine), with the server's response as the error.
    pub(crate) fn try_examine(&mut self, folder: &str) -> Result<Mailbox, ExamineError> {
        let name = self.start_examine(folder)?;
        let responses = self.command(Command::Examine(name.clone()))?;
        self.complete_examine(folder, &name, &responses)
    }

    /// As [`try_examine`](Session::try_examine), with searches of the open folder in the same pipeline.
    /// There are no results if UIDNEXT had to be asked for afterwards: they would be older than what is
    /// returned about the folder.
    pub(crate) fn examine_and_search(
        &mut self,
        folder: &str,
        searches: impl Iterator<Item = String>,
    ) -> Result<(Mailbox, Vec<CommandResult>), ExamineError> {
        let name = self.start_examine(folder)?;
        let mut commands = vec![Command::Examine(name.clone())];
        commands.extend(searches.map(Command::UidSearch));
        let mut results = self.pipeline(commands)?.into_iter();
        let examined = results.next().unwrap_or_else(|| Ok(Responses::default()))?;
        let is_complete = ExamineData::parse(&examined).uid_next.is_some();
        let mailbox = self.complete_examine(folder, &name, &examined)?;
        // What a search finds may have come with the response to EXAMINE.
        let with_examined = |found: CommandResult| {
            let mut responses = examined.clone();
            responses.append(found?);
            Ok(responses)
        };
        let found = results.filter(|_| is_complete).map(with_examined);
        Ok((mailbox, found.collect()))
    }

    /// Returns the quoted name of the folder that is about to be opened.
    fn start_examine(&self, folder: &str) -> Result<MailboxName, ExamineError> {
        let name = MailboxName::new(folder).ok_or_else(|| self.invalid_name(folder))?;
        self.transcript().clear_mailbox_status();
        Ok(name)
    }

    fn invalid_name(&self, folder: &str) -> ExamineError {
        let what = "its name contains a line break or a NUL";
        self.unusable(folder, ErrorKind::Config, what)
    }

    /// Reads the response to EXAMINE, and asks for UIDNEXT where it is missing.
    fn complete_examine(
        &mut self,
        folder: &str,
        name: &MailboxName,
        responses: &Responses,
    ) -> Result<Mailbox, ExamineError> {
        let examined = ExamineData::parse(responses);
        let uid_validity = examined
            .uid_validity
            .ok_or_else(|| self.lacks_uid_validity(folder))?;
        let what = "the server does not say how many messages it holds";
        let lacks_exists = || self.unusable(folder, ErrorKind::Unavailable, what);
        let exists = examined.exists.ok_or_else(lacks_exists)?;
        match examined.uid_next {
            Some(uid_next) => Ok(Mailbox {
                uid_validity,
                uid_next,
                exists,
            }),
            None => Ok(self.ask_uid_next(name, uid_validity, exists)?),
        }
    }

    /// Without UIDVALIDITY a message may be lost whenever the server numbers its messages anew, and
    /// no later run would learn of it.
    fn lacks_uid_validity(&self, folder: &str) -> ExamineError {
        let what = "the server gives it no UIDVALIDITY, or 0, so its UIDs identify no message";
        let error = self.error(ErrorKind::Config, what).during(opening(folder));
        ExamineError::Unusable(error.remedy(
            "no later run can change that: ask the administrator of the server for UIDVALIDITY \
             (RFC 3501 2.3.1.1)",
        ))
    }

    fn unusable(&self, folder: &str, kind: ErrorKind, what: &str) -> ExamineError {
        ExamineError::Unusable(self.error(kind, what).during(opening(folder)))
    }

    /// Asks for UIDNEXT where EXAMINE did not say it.
    ///
    /// The folder is opened again after STATUS: if the session's view of the folder were older than
    /// UIDNEXT, a message that came in between would be taken for one that is gone. If its UIDVALIDITY
    /// has changed by then, both are asked again: Courier gives an empty folder the current time.
    fn ask_uid_next(
        &mut self,
        name: &MailboxName,
        mut uid_validity: UidValidity,
        exists: u32,
    ) -> Result<Mailbox, CommandError> {
        for _ in 0..MAX_UID_VALIDITIES {
            let Some(uid_next) = self.ask_status_for_uid_next(name)? else {
                let uid_next = self.uid_next_by_highest(exists)?;
                return Ok(Mailbox {
                    uid_validity,
                    uid_next,
                    exists,
                });
            };
            let responses = self.command(Command::Examine(name.clone()))?;
            let examined = ExamineData::parse(&responses);
            let what = "the server does not say how many messages the folder holds";
            let exists = examined.exists.ok_or_else(|| CommandError::lost(what))?;
            let what = "the server no longer says the UIDVALIDITY of the folder";
            let found = examined
                .uid_validity
                .ok_or_else(|| CommandError::lost(what))?;
            if found == uid_validity {
                return Ok(Mailbox {
                    uid_validity,
                    uid_next,
                    exists,
                });
            }
            uid_validity = found;
        }
        Err(CommandError::lost(
            "the UIDVALIDITY of the folder changes again and again",
        ))
    }

    fn uid_next_by_highest(&mut self, exists: u32) -> Result<Uid, CommandError> {
        if exists == 0 {
            return Ok(Uid::MIN);
        }
        let responses = self.command(Command::UidFetch(FetchedUids::Last, FetchItems::Uid))?;
        let highest = read_attributes(&responses).into_keys().max();
        let next = highest.and_then(|uid| Uid::new(uid.get().saturating_add(1)));
        next.ok_or_else(|| CommandError::lost("the server does not say the next UID"))
    }

    /// UIDNEXT by STATUS; none if the server rejects that, as some do for the open folder.
    fn ask_status_for_uid_next(&mut self, name: &MailboxName) -> Result<Option<Uid>, CommandError> {
        let responses = match self.command(Command::StatusUidNext(name.clone())) {
            Err(error) if error.leaves_session_usable() => return Ok(None),
            result => result?,
        };
        let mut attributes = responses.iter().flat_map(|response| match response {
            Response::MailboxData(MailboxDatum::Status { status, .. }) => status,
            _ => Vec::new(),
        });
        Ok(attributes.find_map(|attribute| match attribute {
            StatusAttribute::UidNext(uid) => Uid::new(uid),
            _ => None,
        }))
    }

    /// Explains why a folder could not be opened. If it does not exist, that is a mistake in the
    /// configuration, and the remedy names the folders that do.
    fn explain_examine_error(&mut self, folder: &str, error: &CommandError) -> Error {
        let unavailable = self.error(ErrorKind::Unavailable, error);
        if !error.leaves_session_usable() {
            return unavailable;
        }
        let Ok(folders) = self.list() else {
            return unavailable;
        };
        let mut names: Vec<&str> = folders.iter().map(|folder| folder.name.as_str()).collect();
        if names.contains(&folder) || folder.eq_ignore_ascii_case("INBOX") {
            return unavailable;
        }
        let error = self.error(ErrorKind::Config, error);
        if let Some(similar) = suggest(folder, names.iter().copied()) {
            return error.remedy(format!("did you mean {:?}?", Untrusted::new(similar)));
        }
        names.sort_unstable();
        let shown: Vec<String> = names
            .iter()
            .take(MAX_FOLDERS_SHOWN)
            .map(|name| format!("{:?}", Untrusted::new(name)))
            .collect();
        error.remedy(format!("the folders there are {}", shown.join(", ")))
    }
}

/// The result of a command, unless the session is not usable any more.
fn usable(result: CommandResult) -> Result<CommandResult, CommandError> {
    match result {
        Err(error) if !error.leaves_session_usable() => Err(error),
        result => Ok(result),
    }
}

fn opening(folder: &str) -> String {
    format!("opening the folder {:?}", Untrusted::new(folder))
}

/// The response to EXAMINE or SELECT.
#[derive(Debug, Default)]
pub(super) struct ExamineData {
    pub(super) uid_validity: Option<UidValidity>,
    uid_next: Option<Uid>,
    exists: Option<u32>,
}

impl ExamineData {
    pub(super) fn parse(responses: &Responses) -> ExamineData {
        let mut examined = ExamineData::default();
        for response in responses.iter() {
            if let Response::MailboxData(MailboxDatum::Exists(count)) = response {
                examined.exists = Some(count);
            }
        }
        // The codes may stand in the tagged OK, and their numbers may be too large for the parser.
        for line in responses.octets.split(|octet| *octet == b'\n') {
            if let Some((StatusCondition::Ok, text)) = status_response(line) {
                let uid_validity = text.code_number("UIDVALIDITY").and_then(uid_validity);
                examined.uid_validity = uid_validity.or(examined.uid_validity);
                let uid_next = text.code_number("UIDNEXT").and_then(uid_next);
                examined.uid_next = uid_next.or(examined.uid_next);
            }
        }
        examined
    }
}

/// Some servers send numbers of more than 32 bits. Only whether it changes counts, so the upper bits
/// are folded into the lower ones.
pub(super) fn uid_validity(number: u64) -> Option<UidValidity> {
    let folded = (number >> 32) ^ (number & u64::from(u32::MAX));
    u32::try_from(folded).ok().and_then(UidValidity::new)
}

pub(super) fn uid_next(number: u64) -> Option<Uid> {
    u32::try_from(number).ok().and_then(Uid::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(lines: &[&str]) -> (Option<u32>, Option<u32>, Option<u32>) {
        let examined = ExamineData::parse(&(lines.join("\r\n") + "\r\n").as_bytes().into());
        (
            examined.uid_validity.map(UidValidity::get),
            examined.uid_next.map(Uid::get),
            examined.exists,
        )
    }

    #[test]
    fn codes_are_read_in_untagged_and_tagged_responses() {
        let exists = "* 3 EXISTS";
        let cases: [(&[&str], _); 6] = [
            (
                &[
                    exists,
                    "* OK [UIDVALIDITY 7] x",
                    "* OK [UIDNEXT 5] x",
                    "a1 OK done",
                ],
                (Some(7), Some(5), Some(3)),
            ),
            (
                &[exists, "* OK [UIDNEXT 5] x", "a1 OK [UIDVALIDITY 7] done"],
                (Some(7), Some(5), Some(3)),
            ),
            (
                &[
                    "* OK [uidvalidity  7]",
                    "* OK [UIDNEXT 5]x",
                    exists,
                    "a1 OK",
                ],
                (Some(7), Some(5), Some(3)),
            ),
            (
                // 2^32 + 6
                &["* OK [UIDVALIDITY 4294967302] x", exists, "a1 OK"],
                (Some(7), None, Some(3)),
            ),
            (
                &[
                    "* OK [UIDVALIDITY 0] x",
                    "* OK [UIDNEXT 0] x",
                    exists,
                    "a1 OK",
                ],
                (None, None, Some(3)),
            ),
            (
                &["* OK [UIDVALIDITY many] x", "a1 NO [UIDVALIDITY 7]"],
                (None, None, None),
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(examined(lines), expected, "{lines:?}");
        }
    }
}
