//! IDLE (RFC 2177, GMAIL.md 5).

use std::time::Duration;

use crate::login;
use crate::select;
use crate::session::Session;
use crate::wire::Result;

/// How soon the client hears of news.
const LOOK: Duration = Duration::from_millis(10);

/// Tells the client what happens until it says DONE.
pub(crate) fn idle(session: &mut Session) -> Result<()> {
    if !login::offers(session, "IDLE") {
        return session.unparsable();
    }
    let idling = session.texts.idling;
    session.wire.line(idling)?;
    while !session.wire.has_input(LOOK)? {
        select::announce(session)?;
        session.check_life()?;
    }
    let done = session.reply()?;
    if done.eq_ignore_ascii_case(b"DONE") {
        select::announce(session)?;
        let text = session.texts.idle;
        session.wire.answer(text)
    } else {
        session.unparsable()
    }
}
