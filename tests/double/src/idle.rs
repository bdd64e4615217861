//! IDLE (RFC 2177, GMAIL.md 5).

use std::time::Duration;

use crate::login;
use crate::select;
use crate::session::Session;
use crate::wire::Result;

/// How often the mailbox is checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Announces changes of the mailbox until the client sends DONE.
pub(crate) fn idle(session: &mut Session) -> Result<()> {
    if !login::offers(session, "IDLE") {
        return session.unparsable();
    }
    let idling = session.texts.idling;
    session.wire.line(idling)?;
    while !session.wire.has_input(CHECK_INTERVAL)? {
        select::announce(session)?;
        session.check_token_expiry()?;
    }
    let done = session.reply()?;
    if done.eq_ignore_ascii_case(b"DONE") {
        select::announce(session)?;
        let text = session.texts.idle;
        session.wire.respond(text)
    } else {
        session.unparsable()
    }
}
