//! Waiting for new mail on the open session, and looking what is new.

use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::error::{Error, ErrorKind, Result};
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
    pub idles: bool,
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
    silences: u32,
    swallows_commands: bool,
    /// How it was said that the folder is watched.
    told: Option<String>,
}

impl ServerQuirks {
    /// Treats a new session as the ones before it had to be treated.
    pub(super) fn shape(&self, session: &mut Session) {
        if self.swallows_commands {
            session.give_one_by_one();
        }
    }
}

impl ImapSource {
    /// Waits for news: by IDLE where the server offers it and it may be used, else until the poll
    /// interval has passed; never longer than an IDLE may last. It returns at once if the server
    /// told of new mail since the last [`look`](ImapSource::look), and if the session broke since.
    /// A look must follow the wait, whatever ended it, and a pass the look.
    ///
    /// # Errors
    /// The connection broke. The next look opens another.
    pub fn wait(&mut self, how: WaitOptions) -> Result<WaitOutcome> {
        self.ahead = PrefetchedListing::default();
        let waited = self.wait_on_session(how);
        if let Some(session) = &self.session {
            self.habits.swallows_commands |= session.swallows_commands();
        }
        // Whatever broke then: it was told to end.
        if self.access.bounds.tether.is_over() {
            return Ok(WaitOutcome::Woken);
        }
        waited.map_err(|failure| {
            let place = crate::imap::place(&self.access.server);
            Error::new(ErrorKind::Unavailable, place, failure).during("waiting for new mail")
        })
    }

    /// How the folder is watched, for a person: `IDLE`, or `polling every 60 s`.
    #[must_use]
    pub fn waits_by(&self, how: WaitOptions) -> String {
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
    pub fn look(&mut self) -> Result<Mailbox> {
        self.ahead = PrefetchedListing::default();
        let usable = self.session.take().filter(Session::is_usable);
        if let Some(mut session) = usable {
            // A session may show a folder for as long as it lives that was replaced long ago.
            let is_stale = self.examined.elapsed() >= self.access.bounds.patience.idle;
            let glanced = if is_stale {
                Ok(None)
            } else {
                self.glance(&mut session)
            };
            match glanced {
                Ok(Some(mailbox)) => return Ok(self.keep(session, mailbox)),
                Ok(None) => {
                    let mailbox = session.examine(&self.access.folder)?;
                    self.examined = Instant::now();
                    return Ok(self.keep(session, mailbox));
                }
                Err(failure) => {
                    debug!("looking for new mail: {failure}");
                    self.habits.swallows_commands |= session.swallows_commands();
                    self.may_be_opened_again(&failure)?;
                }
            }
        }
        let (mut session, mailbox) = self.access.open()?;
        self.habits.shape(&mut session);
        self.examined = Instant::now();
        Ok(self.keep(session, mailbox))
    }

    /// A session that broke a moment after the one before it did is not opened again at once: who
    /// tries too often is locked out.
    fn may_be_opened_again(&mut self, failure: &CommandError) -> Result<()> {
        let before = self.reopened.replace(Instant::now());
        if before.is_none_or(|before| before.elapsed() >= YOUNG) {
            return Ok(());
        }
        let place = crate::imap::place(&self.access.server);
        Err(Error::new(ErrorKind::Unavailable, place, failure).during("looking for new mail"))
    }

    fn keep(&mut self, session: Session, mailbox: Mailbox) -> Mailbox {
        self.session = Some(session);
        self.mailbox = mailbox;
        self.has_missed_news = false;
        mailbox
    }

    fn wait_on_session(&mut self, how: WaitOptions) -> Result<WaitOutcome, CommandError> {
        let may_idle = how.idles && self.habits.silences < SILENCES_BORNE;
        let Some(session) = self.session.as_mut().filter(|session| session.is_usable()) else {
            return Ok(WaitOutcome::Elapsed);
        };
        if self.has_missed_news || session.has_news() {
            return Ok(WaitOutcome::NewMail);
        }
        if may_idle && !session.is_idling() && session.offers_idle()? {
            match session.begin_idle()? {
                IdleStart::Started => self.habits.silences = 0,
                IdleStart::Unsupported => debug!("the source announces IDLE and does not idle"),
                IdleStart::NoResponse => {
                    self.habits.silences += 1;
                    // Perhaps it lost what came in the same packet as the NOOP.
                    self.habits.swallows_commands = true;
                    warn!("the source announces IDLE and does not answer to it");
                    return Ok(WaitOutcome::Elapsed);
                }
            }
        }
        self.tell(how);
        loop {
            let Some(session) = self.session.as_mut() else {
                return Ok(WaitOutcome::Elapsed);
            };
            let until = if session.is_idling() {
                how.until
            } else {
                how.until.min(Instant::now() + how.poll_interval)
            };
            match session.await_news(until)? {
                IdleResult::NewMail => return Ok(WaitOutcome::NewMail),
                IdleResult::Elapsed => return Ok(WaitOutcome::Elapsed),
                IdleResult::Woken => return Ok(WaitOutcome::Woken),
                IdleResult::IdleEnded => debug!("the source ended the IDLE; waiting without it"),
            }
        }
    }

    /// Says once that the wait has begun, and again when the manner changes.
    fn tell(&mut self, how: WaitOptions) {
        let manner = self.waits_by(how);
        if self.habits.told.as_ref() != Some(&manner) {
            info!(
                "watching {} by {manner}",
                Untrusted::new(&self.access.folder)
            );
            self.habits.told = Some(manner);
        }
    }

    /// Asks what came, in one write. Within one session UIDVALIDITY cannot change (RFC 3501
    /// 2.3.1.1), and UIDs only rise. None if the server refuses to say, or contradicts itself: it
    /// told of mail that is not there, and perhaps the folder is another.
    fn glance(&mut self, session: &mut Session) -> Result<Option<Mailbox>, CommandError> {
        let from = self.mailbox.uid_next;
        let fresh = session.witness().view().fresh;
        let found = if (1..=LISTED_BY_LOOK).contains(&fresh) {
            let list = format!("UID FETCH {from}:* {LISTING}");
            ask(session, &[&list])?.map(|answer| self.list_ahead(from, &answer))
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
        session.witness().looked(fresh, count);
        if new.is_empty() && fresh > 0 {
            debug!("the source told of new mail, and there is none");
            return Ok(None);
        }
        let highest = new.iter().max().copied();
        let after = |uid: Uid| Uid::new(uid.get().saturating_add(1)).unwrap_or(uid);
        let told = session.witness().view().exists;
        Ok(Some(Mailbox {
            uid_validity: self.mailbox.uid_validity,
            uid_next: highest.map_or(from, after),
            exists: told.unwrap_or(self.mailbox.exists).max(count),
        }))
    }

    /// Keeps what a look listed for the pass that follows, and gives the UIDs.
    fn list_ahead(&mut self, from: Uid, answer: &[u8]) -> Vec<Uid> {
        let uids: Vec<Uid> = fetch_responses(answer)
            .filter_map(|attributes| uid_attribute(&attributes))
            .filter(|uid| *uid >= from)
            .collect();
        if let Some(last) = uids.iter().max() {
            let asked: UidSet = uids.iter().copied().collect();
            self.ahead = PrefetchedListing::of(from, *last, read_listing(answer, &asked));
        }
        uids
    }
}

/// Gives commands in one write, and all that was answered; none if the last is refused.
fn ask(session: &mut Session, commands: &[&str]) -> Result<Option<Vec<u8>>, CommandError> {
    let answers = session.together(commands)?;
    if let Some(Err(failure)) = answers.last() {
        debug!("the source refuses to say what is new: {failure}");
        return Ok(None);
    }
    // Dovecot answers a NOOP after the search that came with it, and tells of new mail then.
    let answers: Vec<Vec<u8>> = answers.into_iter().filter_map(Result::ok).collect();
    Ok(Some(answers.concat()))
}
