//! What happened on the connections of a server, numbered.

/// One thing that happened, at which a connection can be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number among the events of all connections of the server, from 1.
    pub number: usize,
    /// The connection it happened on, from 1 in the order they were opened.
    pub connection: usize,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A connection was opened; nothing was said yet, TLS included.
    Connected,
    /// A command was received whole, but not obeyed yet. APPEND: up to its literal.
    Command {
        /// Its name in capitals, with the UID before it: `UID FETCH`.
        name: String,
        /// The line without tag and CRLF; literals in it are shown as they came.
        line: String,
        /// The size of the message literal that an APPEND announces; 0 for other commands.
        octets: usize,
    },
    /// A line of the client within a command: SASL data, DONE.
    Reply(String),
    /// The message literal of an APPEND was asked for, but nothing of it was read yet.
    LiteralBegins(usize),
    /// Half of the octets of a message literal were read.
    LiteralHalf(usize),
    /// The message literal was read whole, but nothing was stored yet.
    Literal(usize),
    /// A user's credentials were accepted, but the client was not told yet.
    LoggedIn(String),
    /// A response line is about to be sent: its beginning, without CRLF.
    Line(String),
}

impl Event {
    /// Says whether this is the command of that name (`EXAMINE`, `UID FETCH`).
    #[must_use]
    pub fn is_command(&self, wanted: &str) -> bool {
        matches!(&self.kind, EventKind::Command { name, .. } if name == wanted)
    }

    /// Says whether this is a response line that contains that text.
    #[must_use]
    pub fn is_line(&self, part: &str) -> bool {
        matches!(&self.kind, EventKind::Line(line) if line.contains(part))
    }

    /// Says whether this is a whole message literal, read and not stored yet.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.kind, EventKind::Literal(_))
    }
}
