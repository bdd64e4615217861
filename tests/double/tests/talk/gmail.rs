//! The beginning of a dialogue with Gmail.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use double::{Gmail, GmailOptions};

use super::Talk;

pub const HOUR: Duration = Duration::from_hours(1);

/// Gmail with default options.
pub fn start() -> Gmail {
    Gmail::start(GmailOptions::default())
}

/// A dialogue after the greeting.
pub fn connected(gmail: &Gmail) -> Talk {
    let mut talk = Talk::secure(gmail.port(), gmail.ca_pem());
    talk.play("S: * OK Gimap ready for requests from 127.0.0.1 <*>");
    talk
}

/// The credentials of XOAUTH2.
pub fn bearer(user: &str, token: &str) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}

/// A dialogue after the log-in.
pub fn logged_in(gmail: &Gmail) -> Talk {
    let mut talk = connected(gmail);
    let token = gmail.tokens().issue(&gmail.user(), HOUR);
    talk.say(&format!(
        "l AUTHENTICATE XOAUTH2 {}",
        bearer(&gmail.user(), &token)
    ));
    talk.play(
        "S: * CAPABILITY <*>
         S: l OK user@gmail.com authenticated (Success)",
    );
    talk
}

/// A dialogue with an open mailbox.
pub fn examined(gmail: &Gmail, mailbox: &str) -> Talk {
    let mut talk = logged_in(gmail);
    talk.say(&format!("e EXAMINE \"{mailbox}\""));
    while !talk.hear().starts_with("e OK") {}
    talk
}

/// Appends a message; returns the response.
pub fn append(talk: &mut Talk, arguments: &str, octets: &[u8]) -> String {
    talk.say(&format!("p APPEND {arguments} {{{}}}", octets.len()));
    let first = talk.hear();
    if first != "+ go ahead" {
        return first;
    }
    talk.write(octets);
    talk.write(b"\r\n");
    talk.hear()
}
