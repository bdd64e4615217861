//! The beginning of a dialogue with Gmail.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use double::{Gmail, GmailOptions};

use super::Dialogue;

pub const HOUR: Duration = Duration::from_hours(1);

/// Gmail with default options.
pub fn start() -> Gmail {
    Gmail::start(GmailOptions::default())
}

/// A dialogue after the greeting.
pub fn connected(gmail: &Gmail) -> Dialogue {
    let mut dialogue = Dialogue::secure(gmail.port(), gmail.ca_pem());
    dialogue.play("S: * OK Gimap ready for requests from 127.0.0.1 <*>");
    dialogue
}

/// The credentials of XOAUTH2.
pub fn bearer(user: &str, token: &str) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}

/// A dialogue after the log-in.
pub fn logged_in(gmail: &Gmail) -> Dialogue {
    let mut dialogue = connected(gmail);
    let token = gmail.tokens().issue(&gmail.user(), HOUR);
    dialogue.send(&format!(
        "l AUTHENTICATE XOAUTH2 {}",
        bearer(&gmail.user(), &token)
    ));
    dialogue.play(
        "S: * CAPABILITY <*>
         S: l OK user@gmail.com authenticated (Success)",
    );
    dialogue
}

/// A dialogue with an open mailbox.
pub fn examined(gmail: &Gmail, mailbox: &str) -> Dialogue {
    let mut dialogue = logged_in(gmail);
    dialogue.send(&format!("e EXAMINE \"{mailbox}\""));
    while !dialogue.receive().starts_with("e OK") {}
    dialogue
}

/// Appends a message; returns the response.
pub fn append(dialogue: &mut Dialogue, arguments: &str, octets: &[u8]) -> String {
    dialogue.send(&format!("p APPEND {arguments} {{{}}}", octets.len()));
    let first = dialogue.receive();
    if first != "+ go ahead" {
        return first;
    }
    dialogue.write(octets);
    dialogue.write(b"\r\n");
    dialogue.receive()
}
