//! The client's end of the protocol: sends commands, and pairs each response with its command.
//!
//! This is the only place that makes tags and reads them. Commands may be pipelined (RFC 3501 5.5):
//! several are sent in one write, or before the last one is answered.

use std::fmt::{self, Write as _};
use std::io;
use std::time::{Duration, Instant};

use crate::imap::command_error::{describe_invalid_line, tagged_result};
use crate::imap::connection::ReceiveResult;
use crate::imap::folder_news::FolderNews;
use crate::imap::{Command, CommandError, Connection, Responses, Transcript};
use crate::net::describe_io_error;
use crate::timeouts::Timeouts;

/// The untagged responses to a command and its tagged OK; or NO or BAD.
pub(crate) type CommandResult = Result<Responses, CommandError>;

/// The tag of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u32);

/// What a response was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// A `+`.
    Continuation,
    /// The tagged response to this command, whose result is known now.
    Tagged(Tag),
    /// Untagged, or with a tag that is none of ours.
    Other,
}

/// A connection that runs commands.
pub(super) struct Client {
    connection: Connection,
    transcript: Transcript,
    timeouts: Timeouts,
    last_tag: u32,
    /// Commands that wait for their tagged response, or whose result was not taken yet.
    sent: Vec<SentCommand>,
    /// The untagged responses since the last tagged one.
    untagged: Responses,
    pub(super) folder_news: FolderNews,
    /// Commands that go with the next one, in the same write.
    queued: Vec<Command>,
    /// The IDLE that the next command ends.
    idle: Option<Tag>,
    /// The server loses commands that arrive in one packet with others, or may do so.
    loses_pipelined_commands: bool,
    /// It did so on this connection.
    has_lost_commands: bool,
    is_usable: bool,
    /// What broke the connection.
    broken_by: Option<io::ErrorKind>,
}

struct SentCommand {
    tag: Tag,
    result: Option<CommandResult>,
    /// Nobody takes its result.
    is_ignored: bool,
}

impl Client {
    pub(super) fn new(connection: Connection, timeouts: Timeouts) -> Client {
        Client {
            transcript: connection.transcript(),
            connection,
            timeouts,
            last_tag: 0,
            sent: Vec::new(),
            untagged: Responses::default(),
            folder_news: FolderNews::default(),
            queued: Vec::new(),
            idle: None,
            loses_pipelined_commands: false,
            has_lost_commands: false,
            is_usable: true,
            broken_by: None,
        }
    }

    pub(super) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// When something was received last.
    pub(super) fn heard_at(&self) -> Instant {
        self.connection.heard_at()
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Says whether commands can still be run.
    pub(super) fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Whether the connection broke because the server did not respond in time.
    pub(super) fn has_timed_out(&self) -> bool {
        self.broken_by == Some(io::ErrorKind::TimedOut)
    }

    /// Whether the connection broke because of what the server sent.
    pub(super) fn violates_protocol(&self) -> bool {
        self.broken_by == Some(io::ErrorKind::InvalidData)
    }

    pub(super) fn loses_pipelined_commands(&self) -> bool {
        self.loses_pipelined_commands
    }

    /// Whether the server responded to a command and not to what came in one packet with it.
    pub(super) fn has_lost_commands(&self) -> bool {
        self.has_lost_commands
    }

    /// Sends each command in a packet of its own from now on.
    pub(super) fn disable_pipelining(&mut self) {
        self.loses_pipelined_commands = true;
    }

    /// Waits at most this long for responses from now on.
    pub(super) fn shorten_timeouts(&mut self, limit: Duration) {
        self.connection.shorten_timeouts(limit);
        self.timeouts.idle_start = self.timeouts.idle_start.min(limit);
    }

    /// Runs a command.
    ///
    /// # Errors
    /// NO or BAD; or the connection broke, and the client is not usable any more.
    pub(super) fn run(&mut self, command: Command) -> CommandResult {
        let result = self.run_all(vec![command])?.pop();
        result.unwrap_or_else(|| Err(CommandError::lost("the command was not sent")))
    }

    /// Runs commands in one write, if the server does not lose them then, and returns the result of
    /// each. A server may delay its tagged responses, so untagged ones may be in the result of another
    /// command than theirs.
    ///
    /// # Errors
    /// The connection broke or the server does not respond; the client is not usable any more.
    pub(super) fn run_all(
        &mut self,
        commands: Vec<Command>,
    ) -> Result<Vec<CommandResult>, CommandError> {
        if !self.loses_pipelined_commands {
            return self.run_together(commands);
        }
        let mut results = Vec::new();
        if self.idle.is_some() {
            self.run_together(Vec::new())?;
        }
        for command in std::mem::take(&mut self.queued) {
            self.run_together(vec![command])?;
        }
        for command in commands {
            results.extend(self.run_together(vec![command])?);
        }
        Ok(results)
    }

    /// Sends a last command, and closes the connection without waiting for the response.
    pub(super) fn finish(&mut self, last: &Command) -> Result<(), CommandError> {
        self.start()?;
        let (_, mut lines) = self.take_lines_before();
        self.write_command(last, &mut lines);
        let finished = self.connection.finish(&lines);
        self.is_usable = false;
        finished.map_err(|error| self.connection_lost(&error))
    }

    /// The IDLE that must end before the next command, and the lines that go before that.
    fn take_lines_before(&mut self) -> (Option<Tag>, String) {
        let idle = self.idle.take();
        let mut lines = idle.map_or("", |_| "DONE\r\n").to_owned();
        lines.push_str(&self.take_queued());
        (idle, lines)
    }

    fn run_together(&mut self, commands: Vec<Command>) -> Result<Vec<CommandResult>, CommandError> {
        self.start()?;
        let (idle, mut lines) = self.take_lines_before();
        let mut tags = Vec::new();
        for command in commands {
            tags.push(self.write_command(&command, &mut lines));
        }
        self.send_lines(&lines)?;
        if let Some(idle) = idle {
            let deadline = Instant::now() + self.timeouts.idle_start;
            self.connection.set_response_deadline(Some(deadline));
            let ended = self.receive_results(&[idle]);
            self.connection.set_response_deadline(None);
            ended?;
        }
        self.receive_results(&tags)
    }

    /// Has the next command end this IDLE (RFC 2177).
    pub(super) fn end_idle_with_next(&mut self, idle: Tag) {
        self.idle = Some(idle);
    }

    /// Starts the transcript of another command; fails if the client is not usable.
    pub(super) fn start(&mut self) -> Result<(), CommandError> {
        self.transcript.start_command();
        if !self.is_usable {
            let closed = || "the connection is closed".to_owned();
            return Err(CommandError::connection_lost(&self.transcript, closed));
        }
        if self.sent.iter().all(|command| command.result.is_some()) {
            self.untagged = Responses::default();
        }
        Ok(())
    }

    /// Has a command sent together with the next one; its result is dropped.
    pub(super) fn send_with_next(&mut self, command: Command) {
        self.queued.push(command);
    }

    /// The lines of the queued commands, which are about to be sent.
    pub(super) fn take_queued(&mut self) -> String {
        let mut lines = String::new();
        for command in std::mem::take(&mut self.queued) {
            let tag = self.write_command(&command, &mut lines);
            self.ignore(tag);
        }
        lines
    }

    /// Writes a command, which is about to be sent; what follows the tag is its `Display`.
    pub(super) fn write_command(&mut self, command: impl fmt::Display, lines: &mut String) -> Tag {
        self.last_tag = self.last_tag.wrapping_add(1);
        let tag = Tag(self.last_tag);
        self.sent.push(SentCommand {
            tag,
            result: None,
            is_ignored: false,
        });
        // Writing to a string does not fail.
        let _ = write!(lines, "{tag} {command}\r\n");
        tag
    }

    /// Drops the result of a command, which may be known or not.
    pub(super) fn ignore(&mut self, tag: Tag) {
        self.sent
            .retain(|command| command.tag != tag || command.result.is_none());
        let mut sent = self.sent.iter_mut();
        if let Some(command) = sent.find(|command| command.tag == tag) {
            command.is_ignored = true;
        }
    }

    /// Sends whole lines: commands, or the continuation of one.
    pub(super) fn send_lines(&mut self, lines: &str) -> Result<(), CommandError> {
        let sent = self.connection.send_lines(lines);
        sent.map_err(|error| self.connection_lost(&error))
    }

    /// Waits for the results of these commands, and takes them.
    pub(super) fn receive_results(
        &mut self,
        tags: &[Tag],
    ) -> Result<Vec<CommandResult>, CommandError> {
        let mut answered = 0;
        while !tags.iter().all(|tag| self.is_answered(*tag)) {
            match self.receive() {
                Ok(Received::Tagged(_)) => answered += 1,
                Ok(_) => {}
                Err(error) => {
                    // The server responded to the first command, and not to what came in the same
                    // packet. After BYE the end of the connection is waited for.
                    let is_silent =
                        error.kind() == io::ErrorKind::TimedOut && self.transcript.bye().is_none();
                    self.has_lost_commands |= is_silent && answered > 0;
                    self.loses_pipelined_commands |= self.has_lost_commands;
                    return Err(self.connection_lost(&error));
                }
            }
        }
        let results = tags.iter().filter_map(|tag| self.take_result(*tag));
        Ok(results.collect())
    }

    pub(super) fn is_answered(&self, tag: Tag) -> bool {
        let is_open = |command: &SentCommand| command.tag == tag && command.result.is_none();
        !self.sent.iter().any(is_open)
    }

    /// Takes the result of a command, once.
    pub(super) fn take_result(&mut self, tag: Tag) -> Option<CommandResult> {
        let is_done = |command: &SentCommand| command.tag == tag && command.result.is_some();
        let at = self.sent.iter().position(is_done)?;
        self.sent.remove(at).result
    }

    /// Drops the untagged responses that no tagged one has followed yet.
    pub(super) fn drop_untagged(&mut self) {
        self.untagged = Responses::default();
    }

    /// Takes the first result that is known, whatever command it is of.
    pub(super) fn take_next_result(&mut self) -> Option<(Tag, CommandResult)> {
        let mut sent = self.sent.iter();
        let tag = sent.find(|command| command.result.is_some())?.tag;
        Some((tag, self.take_result(tag)?))
    }

    /// Receives a response, and pairs it with its command.
    pub(super) fn receive(&mut self) -> io::Result<Received> {
        let response = self.connection.next_response()?;
        self.pair(response)
    }

    /// As [`receive`](Client::receive), if a response begins to arrive before this moment.
    pub(super) fn receive_until(&mut self, until: Instant) -> io::Result<ReceiveResult> {
        self.connection.receive_unsolicited(until)
    }

    /// Pairs a response with its command. One with an unknown tag is ignored, as `DONE BAD` when the
    /// server ended the IDLE at the same moment.
    pub(super) fn pair(&mut self, response: Responses) -> io::Result<Received> {
        if response.is_continuation() {
            return Ok(Received::Continuation);
        }
        if response.is_untagged() {
            self.folder_news.update(&response);
            self.untagged.append(response);
            return Ok(Received::Other);
        }
        if response.octets.is_empty() {
            return Ok(Received::Other);
        }
        // From the transcript: the sanitizer keeps ASCII only.
        let line = self.transcript.last_line();
        let Some(said) = tagged_result(&line) else {
            let what = describe_invalid_line(&line);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        let is_its = |command: &SentCommand| {
            let is_tag = |tag: &str| tag == command.tag.to_string();
            command.result.is_none() && response.tag().is_some_and(is_tag)
        };
        let Some(at) = self.sent.iter().position(is_its) else {
            return Ok(Received::Other);
        };
        let Some(command) = self.sent.get_mut(at) else {
            return Ok(Received::Other);
        };
        let tag = command.tag;
        if command.is_ignored {
            self.sent.remove(at);
            return Ok(Received::Tagged(tag));
        }
        // Of a rejected command they are none: the server has begun with the next one.
        command.result = Some(said.map(|()| {
            let mut responses = std::mem::take(&mut self.untagged);
            responses.append(response);
            responses
        }));
        Ok(Received::Tagged(tag))
    }

    /// Marks the client as not usable.
    pub(super) fn close(&mut self) {
        self.is_usable = false;
    }

    /// As [`close`](Client::close), and returns why.
    pub(super) fn connection_lost(&mut self, error: &io::Error) -> CommandError {
        self.is_usable = false;
        self.broken_by.get_or_insert(error.kind());
        CommandError::connection_lost(&self.transcript, || describe_io_error(error))
    }

    /// As [`connection_lost`](Client::connection_lost), for a response that has no place here.
    pub(super) fn protocol_violated(&mut self) -> CommandError {
        self.is_usable = false;
        self.broken_by.get_or_insert(io::ErrorKind::InvalidData);
        let describe = || describe_invalid_line(&self.transcript.last_line());
        CommandError::connection_lost(&self.transcript, describe)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}
