//! Pipelines: several commands in one write, at the cost of one round trip (RFC 3501 5.5).

use std::io::{self, Write};
use std::time::Instant;

use crate::imap::command_error::{describe_invalid_line, tagged_result};
use crate::imap::{CommandError, Session};
use crate::net::describe_io_error;

/// The untagged responses to a command and its tagged OK, to be parsed by
/// [`responses`](crate::imap::responses); or NO or BAD.
pub(crate) type CommandResult = Result<Vec<u8>, CommandError>;

/// What a session remembers about pipelines.
#[derive(Default)]
pub(super) struct PipelineState {
    last_tag: u32,
    /// The server loses commands that arrive in one packet with others.
    loses_commands: bool,
}

/// Commands that were sent, and the responses received so far.
struct PendingCommands {
    /// The tag of an IDLE that was ended by DONE.
    idle_tag: Option<String>,
    /// The tags of the commands, and their results.
    commands: Vec<(String, Option<CommandResult>)>,
    tagged_responses: usize,
    /// The untagged responses since the last tagged one.
    untagged: Vec<u8>,
}

impl Session {
    /// Runs commands in one write, after ending an IDLE, and returns the result of each. A server
    /// may delay its tagged responses, so untagged ones may be in the result of another command than
    /// theirs. The caller has quoted what goes into the commands.
    ///
    /// # Errors
    /// The connection broke or the server does not respond; the session is not usable any more.
    pub(crate) fn pipeline(
        &mut self,
        commands: &[&str],
    ) -> Result<Vec<CommandResult>, CommandError> {
        if self.pipeline.loses_commands && !commands.is_empty() {
            return self.run_one_by_one(commands);
        }
        self.start_command()?;
        let mut pending = PendingCommands {
            idle_tag: self.idle.end(),
            commands: Vec::new(),
            tagged_responses: 0,
            untagged: Vec::new(),
        };
        let mut lines = String::new();
        if pending.idle_tag.is_some() {
            lines.push_str("DONE\r\n");
        }
        for command in commands {
            let tag = self.next_tag();
            lines.extend([tag.as_str(), " ", command, "\r\n"]);
            pending.commands.push((tag, None));
        }
        let sent = self.send(&lines);
        let received = sent.and_then(|()| self.receive_results(&mut pending));
        self.connection.lock().set_response_deadline(None);
        received.map_err(|error| self.connection_lost(&error))?;
        let results = pending.commands.into_iter();
        Ok(results.filter_map(|(_, result)| result).collect())
    }

    fn run_one_by_one(&mut self, commands: &[&str]) -> Result<Vec<CommandResult>, CommandError> {
        self.end_idle()?;
        let mut results = Vec::new();
        for command in commands {
            let result = self.command(command);
            if !self.is_usable {
                return result.map(|response| vec![Ok(response)]);
            }
            results.push(result);
        }
        Ok(results)
    }

    fn receive_results(&mut self, pending: &mut PendingCommands) -> io::Result<()> {
        if pending.idle_tag.is_some() {
            let deadline = Instant::now() + self.options.timeouts.idle_start;
            self.connection.lock().set_response_deadline(Some(deadline));
        }
        while !pending.is_complete() {
            let response = self.connection.lock().next_response();
            // The server responded to the first command, and not to what came in the same packet. After
            // BYE the end of the connection is waited for.
            if let Err(error) = &response {
                let timed_out =
                    error.kind() == io::ErrorKind::TimedOut && self.transcript.bye().is_none();
                self.pipeline.loses_commands |= timed_out && pending.tagged_responses > 0;
            }
            pending.record(response?)?;
            if pending.idle_tag.is_none() {
                self.connection.lock().set_response_deadline(None);
            }
        }
        Ok(())
    }

    /// Ends the IDLE, if there is one.
    pub(super) fn end_idle(&mut self) -> Result<(), CommandError> {
        if self.is_idling() {
            self.pipeline(&[])?;
        }
        Ok(())
    }

    /// Starts the transcript of another command; fails if the session is not usable.
    pub(super) fn start_command(&mut self) -> Result<(), CommandError> {
        self.transcript.start_command();
        if self.is_usable {
            return Ok(());
        }
        let closed = || "the connection is closed".to_owned();
        Err(CommandError::connection_lost(&self.transcript, closed))
    }

    pub(super) fn send(&mut self, text: &str) -> io::Result<()> {
        let mut connection = self.connection.lock();
        connection.write_all(text.as_bytes())?;
        connection.flush()
    }

    /// A new tag; the library's tags begin with another letter.
    pub(super) fn next_tag(&mut self) -> String {
        self.pipeline.last_tag = self.pipeline.last_tag.wrapping_add(1);
        format!("w{}", self.pipeline.last_tag)
    }

    /// Says whether the server was seen to lose commands that arrive in one packet with others.
    pub(crate) fn loses_pipelined_commands(&self) -> bool {
        self.pipeline.loses_commands
    }

    /// Sends each command in a packet of its own from now on.
    pub(crate) fn disable_pipelining(&mut self) {
        self.pipeline.loses_commands = true;
    }

    /// Marks the session as not usable, and returns why.
    pub(super) fn connection_lost(&mut self, error: &io::Error) -> CommandError {
        self.is_usable = false;
        self.idle.end();
        CommandError::connection_lost(&self.transcript, || describe_io_error(error))
    }
}

impl PendingCommands {
    fn is_complete(&self) -> bool {
        self.idle_tag.is_none() && self.commands.iter().all(|(_, result)| result.is_some())
    }

    /// Records a response. One with an unknown tag is ignored, as `DONE BAD` when the server ended
    /// the IDLE at the same moment.
    fn record(&mut self, mut response: Vec<u8>) -> io::Result<()> {
        let Some(tag) = response_tag(&response) else {
            if response.starts_with(b"*") {
                self.untagged.append(&mut response);
            }
            return Ok(());
        };
        // With OK or not, the IDLE has ended.
        if self.idle_tag.as_deref() == Some(tag) {
            self.idle_tag = None;
            self.tagged_responses += 1;
            return Ok(());
        }
        let mut commands = self.commands.iter_mut();
        let Some((_, result)) = commands.find(|(sent, result)| sent == tag && result.is_none())
        else {
            return Ok(());
        };
        self.tagged_responses += 1;
        let untagged = std::mem::take(&mut self.untagged);
        let Some(said) = tagged_result(&response) else {
            let what = describe_invalid_line(&response);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        *result = Some(said.map(|()| [untagged, response].concat()));
        Ok(())
    }
}

/// The tag of a tagged response.
pub(in crate::imap) fn response_tag(response: &[u8]) -> Option<&str> {
    if response.starts_with(b"*") || response.starts_with(b"+") {
        return None;
    }
    let end = response.iter().position(|octet| *octet == b' ')?;
    std::str::from_utf8(response.get(..end)?).ok()
}
