//! Commands that go in one write, so that they cost one round trip (RFC 3501 5.5).

use std::io;
use std::time::Instant;

use crate::imap::wire::{ResponseText, StatusCondition};
use crate::imap::{CommandError, Session, wire};
use crate::net::describe_io_error;
use crate::untrusted::Untrusted;

/// The untagged responses to a command, to be read by [`responses`](super::responses); or how it
/// was refused.
pub type CommandResult = Result<Vec<u8>, CommandError>;

/// What was written and is not answered yet.
struct PendingCommands {
    /// The tag of an IDLE that was told to end.
    idle: Option<String>,
    /// The tags of the commands, and what came of each.
    commands: Vec<(String, Option<CommandResult>)>,
    /// How many tagged responses came.
    answered: usize,
    /// The untagged responses since the last tagged one.
    untagged: Vec<u8>,
}

/// What a response was.
#[derive(PartialEq, Eq)]
enum TakenResponse {
    EndOfIdle,
    Other,
}

impl Session {
    /// Gives commands in one write, ending an IDLE first, and gives what came of each: the untagged
    /// responses, or NO or BAD. Servers may keep tagged responses back, so that untagged ones stand
    /// with another command than theirs. What goes into the commands was quoted before ([`wire`]).
    ///
    /// # Errors
    /// The connection broke, or the server does not answer; the session is over.
    pub fn pipeline(&mut self, commands: &[&str]) -> Result<Vec<CommandResult>, CommandError> {
        if self.loses_pipelined_commands && !commands.is_empty() {
            return self.run_one_by_one(commands);
        }
        self.start_command()?;
        let mut awaited = PendingCommands {
            idle: self.active_idle.take().map(|idling| idling.tag),
            commands: Vec::new(),
            answered: 0,
            untagged: Vec::new(),
        };
        let mut lines: Vec<String> = Vec::new();
        if awaited.idle.is_some() {
            lines.push("DONE\r\n".to_owned());
        }
        for command in commands {
            let tag = self.next_tag();
            lines.push(format!("{tag} {command}\r\n"));
            awaited.commands.push((tag, None));
        }
        let given = self.send(&lines.concat());
        let answered = given.and_then(|()| self.read_answers(&mut awaited));
        self.connection.connection().set_response_deadline(None);
        answered.map_err(|error| self.connection_lost(&error))?;
        Ok(awaited
            .commands
            .into_iter()
            .filter_map(|(_, answer)| answer)
            .collect())
    }

    fn run_one_by_one(&mut self, commands: &[&str]) -> Result<Vec<CommandResult>, CommandError> {
        self.end_idle()?;
        let mut answers = Vec::new();
        for command in commands {
            let answer = self.command(command);
            if !self.is_usable {
                return answer.map(|answer| vec![Ok(answer)]);
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    fn read_answers(&mut self, awaited: &mut PendingCommands) -> io::Result<()> {
        if awaited.idle.is_some() {
            let due = Instant::now() + self.timeouts.idle_start;
            self.connection
                .connection()
                .set_response_deadline(Some(due));
        }
        while !awaited.is_complete() {
            let response = self.connection.connection().next_response();
            self.loses_pipelined_commands |=
                is_timed_out(&response) && awaited.is_partly_answered();
            if awaited.record(response?)? == TakenResponse::EndOfIdle {
                self.connection.connection().set_response_deadline(None);
            }
        }
        Ok(())
    }

    /// Ends an IDLE, if one is on.
    pub(crate) fn end_idle(&mut self) -> Result<(), CommandError> {
        if self.active_idle.is_some() {
            self.pipeline(&[])?;
        }
        Ok(())
    }

    /// Another command begins: what was said belongs to the one before.
    pub(crate) fn start_command(&mut self) -> Result<(), CommandError> {
        self.transcript.start_command();
        if self.is_usable {
            return Ok(());
        }
        Err(CommandError::ConnectionLost(
            "the connection is closed".to_owned(),
        ))
    }

    pub(crate) fn send(&mut self, text: &str) -> io::Result<()> {
        use std::io::Write;
        let mut connection = self.connection.connection();
        connection.write_all(text.as_bytes())?;
        connection.flush()
    }

    /// A tag that the library never gives.
    pub(crate) fn next_tag(&mut self) -> String {
        self.last_tag = self.last_tag.wrapping_add(1);
        format!("w{}", self.last_tag)
    }

    /// The session is over: why.
    pub(crate) fn connection_lost(&mut self, error: &io::Error) -> CommandError {
        self.is_usable = false;
        self.active_idle = None;
        match self.transcript.bye() {
            Some(text) => CommandError::Bye(ResponseText::parse(&text)),
            None => CommandError::ConnectionLost(describe_io_error(error)),
        }
    }
}

impl PendingCommands {
    fn is_complete(&self) -> bool {
        self.idle.is_none() && self.commands.iter().all(|(_, answer)| answer.is_some())
    }

    /// The server answered what came first, and says nothing to what came in the same packet.
    fn is_partly_answered(&self) -> bool {
        self.answered > 0
    }

    /// Takes a response. What has a tag that nobody awaits is an answer to what nobody asked, as
    /// `DONE BAD` when the server ended the IDLE at the same moment.
    fn record(&mut self, mut response: Vec<u8>) -> io::Result<TakenResponse> {
        let Some(answered) = tag(&response) else {
            if response.starts_with(b"*") {
                self.untagged.append(&mut response);
            }
            return Ok(TakenResponse::Other);
        };
        // Whatever it says to it, the IDLE is over.
        if self.idle.as_deref() == Some(answered) {
            self.idle = None;
            self.answered += 1;
            return Ok(TakenResponse::EndOfIdle);
        }
        let mut open = self.commands.iter_mut();
        let Some((_, answer)) = open.find(|(tag, answer)| tag == answered && answer.is_none())
        else {
            return Ok(TakenResponse::Other);
        };
        self.answered += 1;
        let untagged = std::mem::take(&mut self.untagged);
        *answer = Some(match wire::status(&response) {
            Some((StatusCondition::Ok, _)) => Ok(untagged),
            Some((StatusCondition::No, reply)) => Err(CommandError::No(reply)),
            Some((StatusCondition::Bad, reply)) => Err(CommandError::Bad(reply)),
            _ => return Err(nonsense(&response)),
        });
        Ok(TakenResponse::Other)
    }
}

/// The tag of a tagged response.
pub(crate) fn tag(response: &[u8]) -> Option<&str> {
    if response.starts_with(b"*") || response.starts_with(b"+") {
        return None;
    }
    let end = response.iter().position(|octet| *octet == b' ')?;
    std::str::from_utf8(response.get(..end)?).ok()
}

fn is_timed_out<T>(result: &io::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

fn nonsense(response: &[u8]) -> io::Error {
    let shown = Untrusted::new(response.trim_ascii_end());
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it sent what is no IMAP: {shown:?}"),
    )
}
