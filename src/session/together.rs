//! Commands that go in one write, so that they cost one round trip (RFC 3501 5.5).

use std::io;
use std::time::Instant;

use super::wire::{self, Reply, Status};
use super::{Failure, Session};
use crate::connection;
use crate::foreign::Foreign;

/// The untagged responses to a command, to be read by [`responses`](super::responses); or how it
/// was refused.
pub type Answer = Result<Vec<u8>, Failure>;

/// What was written and is not answered yet.
struct Awaited {
    /// The tag of an IDLE that was told to end.
    idle: Option<String>,
    /// The tags of the commands, and what came of each.
    commands: Vec<(String, Option<Answer>)>,
    /// How many tagged responses came.
    answered: usize,
    /// The untagged responses since the last tagged one.
    untagged: Vec<u8>,
}

/// What a response was.
#[derive(PartialEq, Eq)]
enum Taken {
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
    pub fn together(&mut self, commands: &[&str]) -> Result<Vec<Answer>, Failure> {
        if self.swallows_commands && !commands.is_empty() {
            return self.one_by_one(commands);
        }
        self.begin()?;
        let mut awaited = Awaited {
            idle: self.idling.take().map(|idling| idling.tag),
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
        let given = self.write(&lines.concat());
        let answered = given.and_then(|()| self.read_answers(&mut awaited));
        self.connection.connection().answer_by(None);
        answered.map_err(|error| self.lost(&error))?;
        Ok(awaited
            .commands
            .into_iter()
            .filter_map(|(_, answer)| answer)
            .collect())
    }

    fn one_by_one(&mut self, commands: &[&str]) -> Result<Vec<Answer>, Failure> {
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

    fn read_answers(&mut self, awaited: &mut Awaited) -> io::Result<()> {
        if awaited.idle.is_some() {
            let due = Instant::now() + self.patience.prompt;
            self.connection.connection().answer_by(Some(due));
        }
        while !awaited.is_complete() {
            let response = self.connection.connection().next_response();
            self.swallows_commands |= is_timed_out(&response) && awaited.has_only_begun();
            if awaited.take(response?)? == Taken::EndOfIdle {
                self.connection.connection().answer_by(None);
            }
        }
        Ok(())
    }

    /// Ends an IDLE, if one is on.
    pub(super) fn end_idle(&mut self) -> Result<(), Failure> {
        if self.idling.is_some() {
            self.together(&[])?;
        }
        Ok(())
    }

    /// Another command begins: what was said belongs to the one before.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.witness.begin();
        if self.is_usable {
            return Ok(());
        }
        Err(Failure::Lost("the connection is closed".to_owned()))
    }

    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        use std::io::Write;
        let mut connection = self.connection.connection();
        connection.write_all(text.as_bytes())?;
        connection.flush()
    }

    /// A tag that the library never gives.
    pub(super) fn next_tag(&mut self) -> String {
        self.own_commands = self.own_commands.wrapping_add(1);
        format!("w{}", self.own_commands)
    }

    /// The session is over: why.
    pub(super) fn lost(&mut self, error: &io::Error) -> Failure {
        self.is_usable = false;
        self.idling = None;
        match self.witness.bye() {
            Some(text) => Failure::Bye(Reply::of_text(&text)),
            None => Failure::Lost(connection::reason(error)),
        }
    }
}

impl Awaited {
    fn is_complete(&self) -> bool {
        self.idle.is_none() && self.commands.iter().all(|(_, answer)| answer.is_some())
    }

    /// The server answered what came first, and says nothing to what came in the same packet.
    fn has_only_begun(&self) -> bool {
        self.answered > 0
    }

    /// Takes a response. What has a tag that nobody awaits is an answer to what nobody asked, as
    /// `DONE BAD` when the server ended the IDLE at the same moment.
    fn take(&mut self, mut response: Vec<u8>) -> io::Result<Taken> {
        let Some(answered) = tag(&response) else {
            if response.starts_with(b"*") {
                self.untagged.append(&mut response);
            }
            return Ok(Taken::Other);
        };
        // Whatever it says to it, the IDLE is over.
        if self.idle.as_deref() == Some(answered) {
            self.idle = None;
            self.answered += 1;
            return Ok(Taken::EndOfIdle);
        }
        let mut open = self.commands.iter_mut();
        let Some((_, answer)) = open.find(|(tag, answer)| tag == answered && answer.is_none())
        else {
            return Ok(Taken::Other);
        };
        self.answered += 1;
        let untagged = std::mem::take(&mut self.untagged);
        *answer = Some(match wire::status(&response) {
            Some((Status::Ok, _)) => Ok(untagged),
            Some((Status::No, reply)) => Err(Failure::No(reply)),
            Some((Status::Bad, reply)) => Err(Failure::Bad(reply)),
            _ => return Err(nonsense(&response)),
        });
        Ok(Taken::Other)
    }
}

/// The tag of a tagged response.
pub(super) fn tag(response: &[u8]) -> Option<&str> {
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
    let shown = Foreign::new(response.trim_ascii_end());
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it sent what is no IMAP: {shown:?}"),
    )
}
