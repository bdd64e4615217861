//! The source mailbox, on IMAP: implements [`Source`].
//!
//! It never changes a flag or a message: it uses EXAMINE and BODY.PEEK only. Uses `imap`, and from
//! `sync` the trait and its types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use log::{Level, debug};

use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{CommandError, LoginHistory, Session, search_date, take_bodies};
use crate::message::{
    FETCH_PAGE_SIZE, Identity, Listed, LoggedMessage, Mailbox, Mark, Uid, UidSet,
};
use crate::net::{ConnectionOptions, Trust};
use crate::secret::Secret;
use crate::sync::{Fetched, Source, SourceSearch};

mod connector;
mod fetch_ahead;
mod folder_watcher;
mod folders;
mod inspection;
mod listing;
mod wait;

pub use crate::imap::WaitOutcome;
pub(crate) use inspection::{InspectedFolders, SourceInspection};
pub use wait::WaitOptions;

use crate::source::connector::SourceConnector;
use crate::source::fetch_ahead::{Bodies, FetchesAhead};
use crate::source::folders::OtherFolders;
use crate::source::listing::{Breakers, PrefetchedListing};
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
    listed: BTreeMap<Uid, Listed>,
    prefetched: PrefetchedListing,
    /// What was asked for ahead, on this session.
    ahead: FetchesAhead,
    /// Messages that a warning was logged about.
    unlistable: UidSet,
    quirks: ServerQuirks,
    others: OtherFolders,
    /// Mail came while there was no session, so no server reports it any more.
    may_have_missed_mail: bool,
    last_examine: Instant,
    /// When a check last opened a session in place of a broken one.
    last_reconnect: Option<Instant>,
}

impl ImapSource {
    /// Logs in and opens the folder for reading only.
    ///
    /// # Errors
    /// The server is unavailable or rejects the log-in, or the folder cannot be opened.
    pub fn open(
        config: &SourceConfig,
        password: Secret,
        options: impl Into<ConnectionOptions>,
    ) -> Result<(ImapSource, Mailbox)> {
        ImapSource::open_with_history(config, password, options, LoginHistory::default(), None)
    }

    /// As [`open`](ImapSource::open), with what is known from earlier log-ins, and since when mail is new.
    /// Where that costs no round trip, the new mail is listed.
    ///
    /// # Errors
    /// As for [`open`](ImapSource::open).
    pub fn open_with_history(
        config: &SourceConfig,
        password: Secret,
        options: impl Into<ConnectionOptions>,
        history: LoginHistory,
        new_since: Option<Mark>,
    ) -> Result<(ImapSource, Mailbox)> {
        let trust = Trust::for_server(&config.server).map_err(|error| error.on(Side::Source))?;
        let options = ConnectionOptions {
            side: Side::Source,
            ..options.into()
        };
        let connector = SourceConnector::new(config.clone(), trust, options, history);
        let range = new_since.map(|mark| PrefetchedListing::range(mark.uid_next));
        let (mut session, mailbox) = connector.open_with_password(password, range)?;
        // Under another UIDVALIDITY these UIDs name other messages.
        let is_valid = new_since.is_some_and(|mark| mark.uid_validity == mailbox.uid_validity);
        let listed = session.take_listed_ahead().filter(|_| is_valid);
        let prefetched = range
            .zip(listed)
            .map(|(range, listed)| PrefetchedListing::of_range(range, &mailbox, &listed));
        let source = ImapSource {
            connector,
            session: Some(session),
            mailbox,
            listed: BTreeMap::new(),
            prefetched: prefetched.unwrap_or_default(),
            ahead: FetchesAhead::default(),
            unlistable: UidSet::default(),
            quirks: ServerQuirks::default(),
            others: OtherFolders::default(),
            may_have_missed_mail: false,
            last_examine: Instant::now(),
            last_reconnect: None,
        };
        Ok((source, mailbox))
    }

    /// What later log-ins should know.
    #[must_use]
    pub fn login_history(&self) -> LoginHistory {
        self.connector.login_history()
    }

    /// Logs out.
    pub fn logout(mut self) {
        self.end_watchers();
        // The server would read a LOGOUT after it has sent all that was asked for, to nobody.
        let is_awaited = self.ahead.is_awaited();
        if let Some(session) = self.session.filter(|_| !is_awaited) {
            session.logout();
        }
    }

    /// The session; opens another if it broke.
    fn session(&mut self) -> Result<&mut Session> {
        self.settle_ahead();
        let session = match self.session.take().filter(Session::is_usable) {
            Some(session) => session,
            None => self.reopen()?,
        };
        Ok(self.session.insert(session))
    }

    fn reopen(&mut self) -> Result<Session> {
        debug!("the connection to the source broke; opening another");
        self.others.record_new_session();
        self.ahead = FetchesAhead::default();
        let (mut session, mailbox) = self.connector.open()?;
        // A lower UIDNEXT means that a backup was restored.
        let is_same_mailbox = mailbox.uid_validity == self.mailbox.uid_validity
            && mailbox.uid_next >= self.mailbox.uid_next;
        if is_same_mailbox {
            self.quirks.apply_to(&mut session);
            self.may_have_missed_mail |= mailbox.uid_next > self.mailbox.uid_next;
            return Ok(session);
        }
        session.logout();
        Err(self.replaced())
    }

    fn replaced(&self) -> Error {
        let what =
            "the folder was replaced meanwhile: its UIDVALIDITY changed, or its UIDNEXT fell";
        self.error(what)
            .remedy("the next run finds new mail by date")
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
        self.error(error).during(doing)
    }

    fn error(&self, what: impl fmt::Display) -> Error {
        let connector = &self.connector;
        let server = &connector.config.server;
        connector
            .options
            .error(server, ErrorKind::Unavailable, what)
    }

    /// Returns the UIDs of this set that exist, by as many searches as its ranges need.
    fn search_uids(&mut self, uids: &UidSet) -> Result<Vec<Uid>> {
        let mut found = BTreeSet::new();
        let ranges: Vec<(Uid, Uid)> = uids.ranges().collect();
        for part in ranges.chunks(MAX_SEARCH_RANGES) {
            let mut set = UidSet::default();
            for (first, last) in part {
                set.insert_range(*first, *last);
            }
            found.extend(self.search_by(&format!("UID {set}"))?);
        }
        // A server may return other UIDs: 41 for `42:*` if 41 is the last (RFC 3501 6.4.8).
        found.retain(|uid| uids.contains(*uid));
        Ok(found.into_iter().collect())
    }

    fn search_by(&mut self, criteria: &str) -> Result<Vec<Uid>> {
        let search = |session: &mut Session| session.search(criteria);
        self.run_with_reconnect("searching for messages", search)
    }

    /// Fetches messages; takes the response if they were asked for ahead.
    fn fetch_bodies(&mut self, uids: &[Uid]) -> Result<Result<Bodies, CommandError>> {
        let allowance = self.allowance_ahead(uids);
        let usable = self.session.as_mut().filter(|session| session.is_usable());
        match usable.map(|session| self.ahead.take(uids, session, allowance)) {
            // It may have broken because nobody read it for too long, or because the server lost a command
            // that arrived together with others.
            Some(Some(Err(error))) if !error.leaves_session_usable() => {
                if self.session.as_ref().is_some_and(Session::has_timed_out) {
                    self.quirks.learn_from_silence();
                }
            }
            Some(Some(bodies)) => return Ok(bodies),
            Some(None) | None => {}
        }
        let allowance = self.allowance(uids.iter().copied());
        let session = self.session()?;
        let responses = session.fetch_bodies(uids.iter().copied().collect(), allowance);
        Ok(responses.map(take_bodies))
    }

    /// Receives what was asked for ahead: another command follows.
    fn settle_ahead(&mut self) {
        let allowance = self.allowance_ahead(&[]);
        let usable = self.session.as_mut().filter(|session| session.is_usable());
        if let Some(session) = usable {
            self.ahead.settle(session, allowance);
        }
    }

    /// The limit for the responses to what was asked for ahead and to a fetch of these messages.
    fn allowance_ahead(&self, uids: &[Uid]) -> u64 {
        let uids = uids.iter().copied().collect::<BTreeSet<Uid>>();
        self.allowance(self.ahead.uids().chain(uids))
    }

    /// The limit for the response to a fetch of these messages, in octets.
    fn allowance(&self, uids: impl Iterator<Item = Uid>) -> u64 {
        let listed = uids.filter_map(|uid| self.listed.get(&uid));
        let octets = listed.fold(0, |sum: u64, listed| sum.saturating_add(listed.size));
        // Servers may count line ends differently, and send flags and the like as well.
        octets.saturating_mul(2).max(MIN_ALLOWANCE)
    }
}

impl Source for ImapSource {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        match search {
            SourceSearch::Uids(uids) => self.search_uids(uids),
            SourceSearch::Since(day) => self.search_by(&format!("SINCE {}", search_date(*day))),
            SourceSearch::On(day) => self.search_by(&format!("ON {}", search_date(*day))),
        }
    }

    fn correct_uid_next(&mut self, mailbox: &Mailbox) -> Result<Option<Uid>> {
        let mut above = UidSet::default();
        above.insert_range(mailbox.uid_next, Uid::MAX);
        let Some(highest) = self.search_uids(&above)?.into_iter().max() else {
            return Ok(None);
        };
        // It may have arrived just now; then EXAMINE says another UIDNEXT.
        let folder = self.connector.config.folder.clone();
        let examined = self.session()?.examine(&folder)?;
        if examined.uid_validity != mailbox.uid_validity {
            return Err(self.replaced());
        }
        let is_wrong = examined.uid_next <= highest;
        let next = Uid::new(highest.get().saturating_add(1)).unwrap_or(highest);
        Ok(is_wrong.then_some(next))
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        // A set may name far more UIDs than there are messages.
        let is_long = uids.iter().nth(FETCH_PAGE_SIZE).is_some();
        let uids: Vec<Uid> = if is_long {
            self.search(&SourceSearch::Uids(uids.clone()))?
        } else {
            uids.iter().collect()
        };
        let (mut listed, others) = self.prefetched.take(&uids);
        let mut breakers = Breakers::default();
        for page in others.chunks(FETCH_PAGE_SIZE) {
            self.list_page(page, &mut breakers, &mut listed)?;
        }
        listed.sort_by_key(|listed| listed.uid);
        let by_uid = listed.iter().map(|listed| (listed.uid, listed.clone()));
        self.listed = by_uid.collect();
        Ok(listed)
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let mut bodies = match self.fetch_bodies(uids)? {
            Ok(bodies) => bodies,
            Err(error) => {
                let unreadable = Fetched::Unreadable(error.to_string());
                return Ok(vec![unreadable; uids.len()]);
            }
        };
        Ok(uids
            .iter()
            .map(|uid| {
                let fetched = match bodies.remove(uid) {
                    Some(Some(body)) => Fetched::Octets(body),
                    Some(None) => Fetched::Unreadable("the server sends NIL for it".to_owned()),
                    None => Fetched::Missing,
                };
                match self.listed.get(uid) {
                    Some(listed) => check_fetched(listed, fetched),
                    None => fetched,
                }
            })
            .collect())
    }

    fn prefetch(&mut self, groups: &[Vec<Uid>]) {
        let allowance = self.allowance(groups.iter().flatten().copied());
        let usable = self.session.as_mut().filter(|session| {
            session.is_usable() && !session.is_idling() && !session.loses_pipelined_commands()
        });
        if let Some(session) = usable {
            self.ahead.ask_for(groups, session, allowance);
        }
    }
}

impl fmt::Debug for ImapSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImapSource({:?})", self.connector.config.folder)
    }
}

/// Checks that what was fetched can be the message that was listed.
fn check_fetched(listed: &Listed, fetched: Fetched) -> Fetched {
    let size = listed.size;
    match fetched {
        Fetched::Octets(hashed) if hashed.octets.is_empty() && size > 0 => {
            Fetched::Unreadable(format!("the server sends nothing for its {size} octets"))
        }
        Fetched::Octets(hashed) if is_other_message(listed, &hashed.octets) => {
            let logged = LoggedMessage::from(listed);
            let what = "the source sends another message in its place, as if it were removed";
            logged.log(Level::Warn, format_args!("{logged}: {what}"));
            Fetched::Missing
        }
        other => other,
    }
}

/// Courier sends a text of its own, "This message is no longer available", for a message that
/// another session has removed. Id, header and size must all differ, because some servers list
/// wrong sizes, and some list the header in another form.
fn is_other_message(listed: &Listed, octets: &[u8]) -> bool {
    let (expected, found) = (&listed.identity, Identity::of_header(octets));
    expected.id.is_some()
        && expected.id != found.id
        && expected.header != found.header
        && listed.size != octets.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Flags;

    #[test]
    fn a_text_that_the_server_sends_in_place_of_a_message_is_not_taken_for_it() {
        let message = b"Message-ID: <a@b>\r\nFrom: f\r\nSubject: s\r\n\r\nbody\r\n";
        let listed = Listed {
            uid: Uid::MIN,
            size: message.len() as u64,
            internal_date: None,
            flags: Flags::default(),
            identity: Identity::of_header(message),
        };
        let check = |octets: &[u8]| check_fetched(&listed, Fetched::from(octets.to_vec()));
        assert_eq!(check(message), Fetched::from(message.to_vec()));
        let text = b"From: System Administrator <root@localhost>\r\n\
                     Subject: message unavailable\r\n\r\nNo longer available.\r\n";
        assert_eq!(check(text), Fetched::Missing);
        // A wrong size alone, or a header in another form alone, proves nothing.
        let longer = [message.as_slice(), b"more\r\n"].concat();
        assert_eq!(check(&longer), Fetched::from(longer.clone()));
    }
}
