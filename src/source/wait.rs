//! Waiting for new mail on the open session, and looking what is new.

use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{CommandError, IdleResult, IdleStart, Session, fetch_responses, uid_attribute};
use crate::message::{Mailbox, Uid, UidSet};
use crate::source::listing::PrefetchedListing;
use crate::source::responses::read_listing;
use crate::source::{ImapSource, LISTING};
use crate::untrusted::Untrusted;

/// More new messages than this are not listed by the look itself: the answer could be of any size.
const LISTED_BY_LOOK: u32 = 200;

/// A server that so often in a row does not answer to IDLE is polled from then on.
const SILENCES_BORNE: u32 = 2;

/// A session that breaks so soon is no good one.
const YOUNG: Duration = Duration::from_secs(10);

/// How to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitOptions {
    /// Whether IDLE may be used.
    pub use_idle: bool,
    /// How long to wait where IDLE is not used.
    pub poll_interval: Duration,
    /// When it ends at the latest.
    pub until: Instant,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The server told of new mail.
    NewMail,
    /// The time is up; a server may forget to tell.
    Elapsed,
    /// Somebody called by the tether.
    Woken,
}

/// What was learned of the server that its next session shows again.
#[derive(Debug, Default)]
pub(super) struct ServerQuirks {
    /// So often in a row it did not answer to IDLE.
    idle_timeouts: u32,
    loses_pipelined_commands: bool,
    /// How it was said that the folder is watched.
    logged_method: Option<String>,
}

impl ServerQuirks {
    /// Treats a new session as the ones before it had to be treated.
    pub(super) fn apply_to(&self, session: &mut Session) {
        if self.loses_pipelined_commands {
            session.disable_pipelining();
        }
    }
}

impl ImapSource {
    /// Waits for news: by IDLE where the server offers it and it may be used, else until the poll
    /// interval has passed; never longer than an IDLE may last. It returns at once if the server
    /// told of new mail since the last [`look`](ImapSource::check_for_mail), and if the session broke since.
    /// A look must follow the wait, whatever ended it, and a pass the look.
    ///
    /// # Errors
    /// The connection broke. The next look opens another.
    pub fn wait_for_mail(&mut self, how: WaitOptions) -> Result<WaitOutcome> {
        self.prefetched = PrefetchedListing::default();
        let waited = self.wait_on_session(how);
        if let Some(session) = &self.session {
            self.quirks.loses_pipelined_commands |= session.loses_pipelined_commands();
        }
        // Whatever broke then: it was told to end.
        if self.connector.options.canceller.is_cancelled() {
            return Ok(WaitOutcome::Woken);
        }
        waited.map_err(|failure| {
            let place = self.connector.server.address();
            Error::new(Side::Source, ErrorKind::Unavailable, place, failure)
                .during("waiting for new mail")
        })
    }

    /// How the folder is watched, for a person: `IDLE`, or `polling every 60 s`.
    #[must_use]
    pub fn wait_method(&self, how: WaitOptions) -> String {
        let idles = self.session.as_ref().is_some_and(Session::is_idling);
        if idles {
            return "IDLE".to_owned();
        }
        format!("polling every {} s", how.poll_interval.as_secs())
    }

    /// The folder as it is now, for the next pass: on the open session with one round trip, on a
    /// new one if the old broke. Few new messages are listed at once, so that the pass need not.
    ///
    /// # Errors
    /// As for [`open`](ImapSource::open).
    pub fn check_for_mail(&mut self) -> Result<Mailbox> {
        self.prefetched = PrefetchedListing::default();
        let usable = self.session.take().filter(Session::is_usable);
        if let Some(mut session) = usable {
            // A session may show a folder for as long as it lives that was replaced long ago.
            let is_stale = self.last_examine.elapsed() >= self.connector.options.timeouts.idle_max;
            let glanced = if is_stale {
                Ok(None)
            } else {
                self.check_on_session(&mut session)
            };
            match glanced {
                Ok(Some(mailbox)) => return Ok(self.keep(session, mailbox)),
                Ok(None) => {
                    let mailbox = session.examine(&self.connector.folder)?;
                    self.last_examine = Instant::now();
                    return Ok(self.keep(session, mailbox));
                }
                Err(failure) => {
                    debug!("looking for new mail: {failure}");
                    self.quirks.loses_pipelined_commands |= session.loses_pipelined_commands();
                    self.check_reconnect_rate(&failure)?;
                }
            }
        }
        let (mut session, mailbox) = self.connector.open()?;
        self.quirks.apply_to(&mut session);
        self.last_examine = Instant::now();
        Ok(self.keep(session, mailbox))
    }

    /// A session that broke a moment after the one before it did is not opened again at once: who
    /// tries too often is locked out.
    fn check_reconnect_rate(&mut self, failure: &CommandError) -> Result<()> {
        let before = self.last_reopen.replace(Instant::now());
        if before.is_none_or(|before| before.elapsed() >= YOUNG) {
            return Ok(());
        }
        let place = self.connector.server.address();
        Err(
            Error::new(Side::Source, ErrorKind::Unavailable, place, failure)
                .during("looking for new mail"),
        )
    }

    fn keep(&mut self, session: Session, mailbox: Mailbox) -> Mailbox {
        self.session = Some(session);
        self.mailbox = mailbox;
        self.may_have_missed_mail = false;
        mailbox
    }

    fn wait_on_session(&mut self, how: WaitOptions) -> Result<WaitOutcome, CommandError> {
        let may_idle = how.use_idle && self.quirks.idle_timeouts < SILENCES_BORNE;
        let Some(session) = self.session.as_mut().filter(|session| session.is_usable()) else {
            return Ok(WaitOutcome::Elapsed);
        };
        if self.may_have_missed_mail || session.has_new_mail() {
            return Ok(WaitOutcome::NewMail);
        }
        if may_idle && !session.is_idling() && session.offers_idle()? {
            match session.start_idle()? {
                IdleStart::Started => self.quirks.idle_timeouts = 0,
                IdleStart::Unsupported => debug!("the source announces IDLE and does not idle"),
                IdleStart::NoResponse => {
                    self.quirks.idle_timeouts += 1;
                    // Perhaps it lost what came in the same packet as the NOOP.
                    self.quirks.loses_pipelined_commands = true;
                    warn!("the source announces IDLE and does not answer to it");
                    return Ok(WaitOutcome::Elapsed);
                }
            }
        }
        self.log_wait_method(how);
        loop {
            let Some(session) = self.session.as_mut() else {
                return Ok(WaitOutcome::Elapsed);
            };
            let until = if session.is_idling() {
                how.until
            } else {
                how.until.min(Instant::now() + how.poll_interval)
            };
            match session.wait_for_mail(until)? {
                IdleResult::NewMail => return Ok(WaitOutcome::NewMail),
                IdleResult::Elapsed => return Ok(WaitOutcome::Elapsed),
                IdleResult::Woken => return Ok(WaitOutcome::Woken),
                IdleResult::IdleEnded => debug!("the source ended the IDLE; waiting without it"),
            }
        }
    }

    /// Says once that the wait has begun, and again when the manner changes.
    fn log_wait_method(&mut self, how: WaitOptions) {
        let manner = self.wait_method(how);
        if self.quirks.logged_method.as_ref() != Some(&manner) {
            info!(
                "watching {} by {manner}",
                Untrusted::new(&self.connector.folder)
            );
            self.quirks.logged_method = Some(manner);
        }
    }

    /// Asks what came, in one write. Within one session UIDVALIDITY cannot change (RFC 3501
    /// 2.3.1.1), and UIDs only rise. None if the server refuses to say, or contradicts itself: it
    /// told of mail that is not there, and perhaps the folder is another.
    fn check_on_session(&mut self, session: &mut Session) -> Result<Option<Mailbox>, CommandError> {
        let from = self.mailbox.uid_next;
        let fresh = session.transcript().mailbox_status().new_messages;
        let found = if (1..=LISTED_BY_LOOK).contains(&fresh) {
            let list = format!("UID FETCH {from}:* {LISTING}");
            ask(session, &[&list])?.map(|answer| self.prefetch_listing(from, &answer))
        } else {
            // A session sees what it was told of: the NOOP makes the server tell.
            let search = format!("UID SEARCH UID {from}:*");
            ask(session, &["NOOP", &search])?.map(|answer| crate::imap::search_results(&answer))
        };
        let Some(found) = found else {
            return Ok(None);
        };
        // `42:*` is answered with 41 where 41 is the last (RFC 3501 6.4.8).
        let new: Vec<Uid> = found.into_iter().filter(|uid| *uid >= from).collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        session.transcript().record_check(fresh, count);
        if new.is_empty() && fresh > 0 {
            debug!("the source told of new mail, and there is none");
            return Ok(None);
        }
        let highest = new.iter().max().copied();
        let after = |uid: Uid| Uid::new(uid.get().saturating_add(1)).unwrap_or(uid);
        let told = session.transcript().mailbox_status().exists;
        Ok(Some(Mailbox {
            uid_validity: self.mailbox.uid_validity,
            uid_next: highest.map_or(from, after),
            exists: told.unwrap_or(self.mailbox.exists).max(count),
        }))
    }

    /// Keeps what a look listed for the pass that follows, and gives the UIDs.
    fn prefetch_listing(&mut self, from: Uid, answer: &[u8]) -> Vec<Uid> {
        let uids: Vec<Uid> = fetch_responses(answer)
            .filter_map(|attributes| uid_attribute(&attributes))
            .filter(|uid| *uid >= from)
            .collect();
        if let Some(last) = uids.iter().max() {
            let asked: UidSet = uids.iter().copied().collect();
            self.prefetched =
                PrefetchedListing::from_listing(from, *last, read_listing(answer, &asked));
        }
        uids
    }
}

/// Gives commands in one write, and all that was answered; none if the last is refused.
fn ask(session: &mut Session, commands: &[&str]) -> Result<Option<Vec<u8>>, CommandError> {
    let answers = session.pipeline(commands)?;
    if let Some(Err(failure)) = answers.last() {
        debug!("the source refuses to say what is new: {failure}");
        return Ok(None);
    }
    // Dovecot answers a NOOP after the search that came with it, and tells of new mail then.
    let answers: Vec<Vec<u8>> = answers.into_iter().filter_map(Result::ok).collect();
    Ok(Some(answers.concat()))
}
