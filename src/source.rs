//! The mailbox mail comes from.
//!
//! Read-only: EXAMINE and BODY.PEEK alone, so nothing here changes a flag or a message.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::NaiveDate;
use log::{debug, warn};

use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{CommandError, Session};
use crate::message::{Identity, Listed, Mailbox, Uid, UidSet};
use crate::net::ConnectionOptions;
use crate::net::Trust;
use crate::secret::Secret;
use crate::sync::{Fetched, Source, SourceSearch};

mod connector;
mod listing;
mod responses;
mod wait;

pub use wait::{WaitOptions, WaitOutcome};

use crate::source::connector::SourceConnector;
use crate::source::listing::PrefetchedListing;
use crate::source::responses::read_bodies;
use crate::source::wait::ServerQuirks;

/// Messages listed by one command: some 5,500 octets of UIDs at most, of the 8,000 that a command
/// line may have (RFC 7162 4).
const LISTED_AT_ONCE: usize = 500;

/// Ranges of UIDs in one search, for the same reason.
const RANGES_AT_ONCE: usize = 350;

/// What is asked of each message for a listing.
const LISTING: &str = "(UID RFC822.SIZE INTERNALDATE FLAGS \
                       BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)])";

/// The largest response to a fetch where the sizes say less: larger than any message that Gmail
/// takes, because some servers give sizes that are wrong.
const SMALLEST_ALLOWANCE: u64 = 48 * 1024 * 1024;

/// The mailbox mail comes from, on its server.
pub struct ImapSource {
    connector: SourceConnector,
    session: Option<Session>,
    /// The folder as it was when it was looked at last.
    mailbox: Mailbox,
    /// What the last listing said, to bound what a fetch may cost and to know again what it gives.
    listed: BTreeMap<Uid, ListedSummary>,
    prefetched: PrefetchedListing,
    quirks: ServerQuirks,
    /// Mail came while there was no session to be told of it.
    may_have_missed_mail: bool,
    /// When the folder was last asked for as a whole.
    last_examine: Instant,
    /// When a look last found the session broken, and opened another.
    last_reopen: Option<Instant>,
}

/// What a listing said of a message.
struct ListedSummary {
    size: u64,
    identity: Identity,
}

impl ImapSource {
    /// Logs in and opens the folder, for reading only.
    ///
    /// # Errors
    /// The server is unavailable or refuses the log-in, or the folder cannot be opened.
    pub fn open(config: &SourceConfig, password: Secret) -> Result<(ImapSource, Mailbox)> {
        ImapSource::open_with_options(config, password, ConnectionOptions::default())
    }

    /// The same with other bounds: another patience, a tether.
    ///
    /// # Errors
    /// As for [`open`](ImapSource::open).
    pub fn open_with_options(
        config: &SourceConfig,
        password: Secret,
        bounds: impl Into<ConnectionOptions>,
    ) -> Result<(ImapSource, Mailbox)> {
        let connector = SourceConnector {
            server: config.server.clone(),
            folder: config.folder.clone(),
            user: config.user.clone(),
            password: config.password.clone(),
            trust: Trust::for_server(&config.server).map_err(|error| error.on(Side::Source))?,
            options: bounds.into(),
        };
        let (session, mailbox) = connector.open_with_password(password)?;
        let source = ImapSource {
            connector,
            session: Some(session),
            mailbox,
            listed: BTreeMap::new(),
            prefetched: PrefetchedListing::default(),
            quirks: ServerQuirks::default(),
            may_have_missed_mail: false,
            last_examine: Instant::now(),
            last_reopen: None,
        };
        Ok((source, mailbox))
    }

    /// Takes leave of the server.
    pub fn logout(self) {
        if let Some(session) = self.session {
            session.logout();
        }
    }

    /// The session, opened anew if it broke.
    fn session(&mut self) -> Result<&mut Session> {
        let usable = self.session.take().filter(Session::is_usable);
        let session = match usable {
            Some(session) => session,
            None => self.reopen()?,
        };
        Ok(self.session.insert(session))
    }

    fn reopen(&mut self) -> Result<Session> {
        debug!("the connection to the source broke; opening another");
        let (mut session, mailbox) = self.connector.open()?;
        // One that fell back is another one, too: a backup was restored.
        let is_the_same = mailbox.uid_validity == self.mailbox.uid_validity
            && mailbox.uid_next >= self.mailbox.uid_next;
        if is_the_same {
            self.quirks.apply_to(&mut session);
            // What came while there was no session, nobody tells any more.
            self.may_have_missed_mail |= mailbox.uid_next > self.mailbox.uid_next;
            return Ok(session);
        }
        let error = Error::new(
            Side::Source,
            ErrorKind::Unavailable,
            session.place(),
            "the folder is another one meanwhile: it got another UIDVALIDITY, or fell back",
        );
        session.logout();
        Err(error.remedy("the next run finds out what is new by date"))
    }

    /// Asks, and once more on a new connection if the first breaks.
    fn run_with_reconnect<T>(
        &mut self,
        doing: &str,
        question: impl Fn(&mut Session) -> Result<T, CommandError>,
    ) -> Result<T> {
        let first = question(self.session()?);
        let answer = match first {
            Err(failure) if !failure.leaves_session_usable() => question(self.session()?),
            answer => answer,
        };
        answer.map_err(|failure| {
            let place = self.connector.server.address();
            Error::new(Side::Source, ErrorKind::Unavailable, place, failure).during(doing)
        })
    }

    /// What the response to a fetch of these messages may cost.
    fn allowance(&self, uids: &[Uid]) -> u64 {
        let known = uids
            .iter()
            .filter_map(|uid| self.listed.get(uid))
            .map(|expected| expected.size);
        let octets = known.fold(0, |sum: u64, size| sum.saturating_add(size));
        // Sizes may be off by the line ends, and flags and the like come on top.
        octets.saturating_mul(2).max(SMALLEST_ALLOWANCE)
    }
}

impl Source for ImapSource {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        let doing = "searching for messages";
        match search {
            SourceSearch::Uids(uids) => {
                let mut found = Vec::new();
                let ranges: Vec<(Uid, Uid)> = uids.ranges().collect();
                for some in ranges.chunks(RANGES_AT_ONCE) {
                    let criteria = format!("UID {}", set_of(some));
                    found.extend(
                        self.run_with_reconnect(doing, |session| session.search(&criteria))?,
                    );
                }
                // `42:*` is answered with 41 where 41 is the last (RFC 3501 6.4.8).
                found.retain(|uid| uids.contains(*uid));
                found.sort_unstable();
                found.dedup();
                Ok(found)
            }
            SourceSearch::Since(day) => {
                let criteria = format!("SINCE {}", day_of(*day));
                self.run_with_reconnect(doing, |session| session.search(&criteria))
            }
            SourceSearch::On(day) => {
                let criteria = format!("ON {}", day_of(*day));
                self.run_with_reconnect(doing, |session| session.search(&criteria))
            }
        }
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        // A set may name far more than there is.
        let is_long = uids.iter().nth(LISTED_AT_ONCE).is_some();
        let uids: Vec<Uid> = if is_long {
            self.search(&SourceSearch::Uids(uids.clone()))?
        } else {
            uids.iter().collect()
        };
        let mut listed = self.prefetched.take(&uids).unwrap_or_default();
        if listed.is_empty() {
            let mut breakers = 0;
            for some in uids.chunks(LISTED_AT_ONCE) {
                self.list_chunk(some, &mut breakers, &mut listed)?;
            }
        }
        listed.sort_by_key(|listed| listed.uid);
        self.listed = listed
            .iter()
            .map(|listed| (listed.uid, ListedSummary::from(listed)))
            .collect();
        Ok(listed)
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        let set: UidSet = uids.iter().copied().collect();
        if set.is_empty() {
            return Ok(Vec::new());
        }
        let allowance = self.allowance(uids);
        let session = self.session()?;
        session.transcript().set_allowance(allowance);
        let answer = session.command(&format!("UID FETCH {set} (UID BODY.PEEK[])"));
        session.transcript().set_allowance(0);
        let mut bodies = match answer {
            Ok(answer) => read_bodies(&answer),
            Err(failure) => {
                let why = failure.to_string();
                return Ok(uids
                    .iter()
                    .map(|_| Fetched::Unreadable(why.clone()))
                    .collect());
            }
        };
        Ok(uids
            .iter()
            .map(|uid| {
                let fetched = bodies.remove(uid).unwrap_or(Fetched::Missing);
                match self.listed.get(uid) {
                    Some(expected) => expected.check(*uid, fetched),
                    None => fetched,
                }
            })
            .collect())
    }
}

impl std::fmt::Debug for ImapSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImapSource")
            .field("folder", &self.connector.folder)
            .finish_non_exhaustive()
    }
}

/// A day as SEARCH wants it: `1-Feb-2026` (RFC 3501, `date-text`).
fn day_of(day: NaiveDate) -> impl std::fmt::Display {
    day.format("%-d-%b-%Y")
}

fn set_of(ranges: &[(Uid, Uid)]) -> UidSet {
    let mut set = UidSet::default();
    for (first, last) in ranges {
        set.insert_range(*first, *last);
    }
    set
}

impl From<&Listed> for ListedSummary {
    fn from(listed: &Listed) -> ListedSummary {
        ListedSummary {
            size: listed.size,
            identity: listed.identity.clone(),
        }
    }
}

impl ListedSummary {
    /// Takes nothing for the message but the message.
    fn check(&self, uid: Uid, fetched: Fetched) -> Fetched {
        match fetched {
            Fetched::Octets(octets) if octets.is_empty() && self.size > 0 => {
                let size = self.size;
                Fetched::Unreadable(format!("the server gives nothing for its {size} octets"))
            }
            Fetched::Octets(octets) if self.is_other_message(&octets) => {
                warn!("uid {uid}: the server gives another message than the one that it listed");
                Fetched::Missing
            }
            other => other,
        }
    }

    /// Courier gives a text of its own, "This message is no longer available", for a message that
    /// another session has removed. Told by everything that can be told, because there are servers
    /// whose sizes are wrong, and some whose listings show a header in another form.
    fn is_other_message(&self, octets: &[u8]) -> bool {
        let found = Identity::of_header(octets);
        self.identity.id.is_some()
            && self.identity.id != found.id
            && self.identity.header != found.header
            && self.size != octets.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_servers_own_is_not_taken_for_the_message() {
        let message = b"Message-ID: <a@b>\r\nFrom: f\r\nSubject: s\r\n\r\nbody\r\n";
        let expected = ListedSummary {
            size: message.len() as u64,
            identity: Identity::of_header(message),
        };
        let check = |octets: &[u8]| expected.check(Uid::MIN, Fetched::Octets(octets.to_vec()));
        assert_eq!(check(message), Fetched::Octets(message.to_vec()));
        let text = b"From: System Administrator <root@localhost>\r\n\
                     Subject: message unavailable\r\n\r\nNo longer available.\r\n";
        assert_eq!(check(text), Fetched::Missing);
        // A size that is wrong, or a header in another form, alone proves nothing.
        let longer = [message.as_slice(), b"more\r\n"].concat();
        assert_eq!(check(&longer), Fetched::Octets(longer.clone()));
    }

    #[test]
    fn days_are_written_as_search_wants_them() {
        let day = NaiveDate::from_ymd_opt(2026, 2, 1).unwrap();
        assert_eq!(day_of(day).to_string(), "1-Feb-2026");
    }
}
