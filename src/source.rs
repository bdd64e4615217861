//! The source mailbox, on IMAP: implements [`Source`](crate::sync::Source).
//!
//! It never changes a flag or a message: it uses EXAMINE and BODY.PEEK only. Uses `imap`, and from
//! `sync` the trait and its types.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use log::{debug, warn};

use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{CommandError, Session, read_bodies, search_date};
use crate::message::{FETCH_PAGE_SIZE, Identity, Listed, Mailbox, Uid, UidSet};
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;
use crate::sync::{Fetched, Source, SourceSearch};

mod connector;
mod listing;
mod wait;

pub use wait::{WaitOptions, WaitOutcome};

use crate::source::connector::SourceConnector;
use crate::source::listing::PrefetchedListing;
use crate::source::wait::ServerQuirks;

/// UID ranges in one search: some 7,700 octets at most, of the 8,000 that a command line may have
/// (RFC 7162 4).
const MAX_SEARCH_RANGES: usize = 350;

/// The minimum limit for the response to a fetch, larger than any message that Gmail takes: some
/// servers list wrong sizes.
const MIN_ALLOWANCE: u64 = 48 * 1024 * 1024;

/// The source mailbox on its server.
pub struct ImapSource {
    connector: SourceConnector,
    session: Option<Session>,
    /// The folder as of the last check.
    mailbox: Mailbox,
    /// The messages of the last listing: limits a fetch, and checks what it returns.
    listed: BTreeMap<Uid, ListedSummary>,
    prefetched: PrefetchedListing,
    quirks: ServerQuirks,
    /// Mail came while there was no session, so no server reports it any more.
    may_have_missed_mail: bool,
    last_examine: Instant,
    /// When a check last opened a session in place of a broken one.
    last_reconnect: Option<Instant>,
}

/// A message of the last listing.
struct ListedSummary {
    size: u64,
    identity: Identity,
}

impl ImapSource {
    /// Logs in and opens the folder for reading only.
    ///
    /// # Errors
    /// The server is unavailable or rejects the log-in, or the folder cannot be opened.
    pub fn open(config: &SourceConfig, password: Secret) -> Result<(ImapSource, Mailbox)> {
        ImapSource::open_with_options(config, password, ConnectionOptions::default())
    }

    /// As [`open`](ImapSource::open), with options of the connection.
    ///
    /// # Errors
    /// As for [`open`](ImapSource::open).
    pub fn open_with_options(
        config: &SourceConfig,
        password: Secret,
        options: impl Into<ConnectionOptions>,
    ) -> Result<(ImapSource, Mailbox)> {
        let connector = SourceConnector {
            server: config.server.clone(),
            folder: config.folder.clone(),
            user: config.user.clone(),
            password: config.password.clone(),
            trust: Trust::for_server(&config.server).map_err(|error| error.on(Side::Source))?,
            options: ConnectionOptions {
                side: Side::Source,
                ..options.into()
            },
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
            last_reconnect: None,
        };
        Ok((source, mailbox))
    }

    /// Logs out.
    pub fn logout(self) {
        if let Some(session) = self.session {
            session.logout();
        }
    }

    /// The session; opens another if it broke.
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
        // A lower UIDNEXT means that a backup was restored.
        let is_same_mailbox = mailbox.uid_validity == self.mailbox.uid_validity
            && mailbox.uid_next >= self.mailbox.uid_next;
        if is_same_mailbox {
            self.quirks.apply_to(&mut session);
            self.may_have_missed_mail |= mailbox.uid_next > self.mailbox.uid_next;
            return Ok(session);
        }
        let error = Error::new(
            Side::Source,
            ErrorKind::Unavailable,
            session.place(),
            "the folder was replaced meanwhile: its UIDVALIDITY changed, or its UIDNEXT fell",
        );
        session.logout();
        Err(error.remedy("the next run finds new mail by date"))
    }

    /// Runs an action, and again on a new connection if the first broke.
    fn run_with_reconnect<T>(
        &mut self,
        doing: &str,
        action: impl Fn(&mut Session) -> Result<T, CommandError>,
    ) -> Result<T> {
        let result = match action(self.session()?) {
            Err(error) if !error.leaves_session_usable() => action(self.session()?),
            result => result,
        };
        result.map_err(|error| self.unavailable(&error, doing))
    }

    fn unavailable(&self, error: &CommandError, doing: &str) -> Error {
        let place = self.connector.server.address();
        Error::new(Side::Source, ErrorKind::Unavailable, place, error).during(doing)
    }

    /// The limit for the response to a fetch of these messages, in octets.
    fn allowance(&self, uids: &[Uid]) -> u64 {
        let listed = uids.iter().filter_map(|uid| self.listed.get(uid));
        let octets = listed.fold(0, |sum: u64, listed| sum.saturating_add(listed.size));
        // Servers may count line ends differently, and send flags and the like as well.
        octets.saturating_mul(2).max(MIN_ALLOWANCE)
    }
}

impl Source for ImapSource {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        let doing = "searching for messages";
        match search {
            SourceSearch::Uids(uids) => {
                let mut found = Vec::new();
                let ranges: Vec<(Uid, Uid)> = uids.ranges().collect();
                for part in ranges.chunks(MAX_SEARCH_RANGES) {
                    let criteria = format!("UID {}", set_of(part));
                    found.extend(
                        self.run_with_reconnect(doing, |session| session.search(&criteria))?,
                    );
                }
                // A server may return other UIDs: 41 for `42:*` if 41 is the last (RFC 3501 6.4.8).
                found.retain(|uid| uids.contains(*uid));
                found.sort_unstable();
                found.dedup();
                Ok(found)
            }
            SourceSearch::Since(day) => {
                let criteria = format!("SINCE {}", search_date(*day));
                self.run_with_reconnect(doing, |session| session.search(&criteria))
            }
            SourceSearch::On(day) => {
                let criteria = format!("ON {}", search_date(*day));
                self.run_with_reconnect(doing, |session| session.search(&criteria))
            }
        }
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        // A set may name far more UIDs than there are messages.
        let is_long = uids.iter().nth(FETCH_PAGE_SIZE).is_some();
        let uids: Vec<Uid> = if is_long {
            self.search(&SourceSearch::Uids(uids.clone()))?
        } else {
            uids.iter().collect()
        };
        let mut listed = self.prefetched.take(&uids).unwrap_or_default();
        if listed.is_empty() {
            let mut breakers = 0;
            for page in uids.chunks(FETCH_PAGE_SIZE) {
                self.list_page(page, &mut breakers, &mut listed)?;
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
        let response = match self.session()?.fetch_bodies(&set, allowance) {
            Ok(response) => response,
            Err(error) => {
                let unreadable = Fetched::Unreadable(error.to_string());
                return Ok(vec![unreadable; uids.len()]);
            }
        };
        let mut bodies = read_bodies(&response);
        Ok(uids
            .iter()
            .map(|uid| {
                let fetched = match bodies.remove(uid) {
                    Some(Some(octets)) => Fetched::Octets(octets.into_owned()),
                    Some(None) => Fetched::Unreadable("the server sends NIL for it".to_owned()),
                    None => Fetched::Missing,
                };
                match self.listed.get(uid) {
                    Some(listed) => listed.check(*uid, fetched),
                    None => fetched,
                }
            })
            .collect())
    }
}

impl fmt::Debug for ImapSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapSource")
            .field("folder", &self.connector.folder)
            .finish_non_exhaustive()
    }
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
    /// Checks that what was fetched can be the message that was listed.
    fn check(&self, uid: Uid, fetched: Fetched) -> Fetched {
        match fetched {
            Fetched::Octets(octets) if octets.is_empty() && self.size > 0 => {
                let size = self.size;
                Fetched::Unreadable(format!("the server sends nothing for its {size} octets"))
            }
            Fetched::Octets(octets) if self.is_other_message(&octets) => {
                warn!("uid {uid}: the server sends another message than the one that it listed");
                Fetched::Missing
            }
            other => other,
        }
    }

    /// Courier sends a text of its own, "This message is no longer available", for a message that
    /// another session has removed. Id, header and size must all differ, because some servers list
    /// wrong sizes, and some list the header in another form.
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
    fn a_text_that_the_server_sends_in_place_of_a_message_is_not_taken_for_it() {
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
        // A wrong size alone, or a header in another form alone, proves nothing.
        let longer = [message.as_slice(), b"more\r\n"].concat();
        assert_eq!(check(&longer), Fetched::Octets(longer.clone()));
    }
}
