//! Numbered protocol events, at which a fault can be injected.

/// A protocol event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counted over all connections of the server, from 1.
    pub number: usize,
    /// The connection, counted from 1 in the order of opening.
    pub connection: usize,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A connection was opened; nothing was sent yet, not even for TLS.
    Connected,
    /// A command was received (an APPEND up to its literal), but not executed yet.
    Command {
        /// Its name in capitals, with the UID before it: `UID FETCH`.
        name: String,
        /// The line without tag and CRLF, with its literals.
        line: String,
        /// The size of an APPEND's message literal; 0 for other commands.
        octets: usize,
    },
    /// A line of the client within a command: SASL data, DONE.
    Reply(String),
    /// The server asked for the message literal of an APPEND, and has read nothing of it yet.
    LiteralBegins(usize),
    /// The server has read half of the message literal.
    LiteralHalf(usize),
    /// The server has read the whole message literal, and stored nothing yet.
    Literal(usize),
    /// The server accepted a user's credentials, and has not responded yet.
    LoggedIn(String),
    /// A response line is about to be sent; its beginning, without CRLF.
    Line(String),
}

impl Event {
    /// Whether this is the command `wanted` (`EXAMINE`, `UID FETCH`).
    #[must_use]
    pub fn is_command(&self, wanted: &str) -> bool {
        matches!(&self.kind, EventKind::Command { name, .. } if name == wanted)
    }

    /// Whether this is an EXAMINE of a mailbox whose name contains `part`.
    #[must_use]
    pub fn is_examine_of(&self, part: &str) -> bool {
        matches!(&self.kind, EventKind::Command { name, line, .. }
            if name == "EXAMINE" && line.contains(part))
    }

    /// Whether this is a response line that contains `part`.
    #[must_use]
    pub fn is_line(&self, part: &str) -> bool {
        matches!(&self.kind, EventKind::Line(line) if line.contains(part))
    }

    /// Whether this is a message literal that was read and is not stored yet.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.kind, EventKind::Literal(_))
    }
}
