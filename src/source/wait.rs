//! Waiting for new mail on the open session, and checking for it.

use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::error::{Error, Result};
use crate::imap::{
    Command, CommandError, FetchItems, FetchedUids, IdleStart, Responses, Session, WaitOutcome,
    read_attributes, search_results,
};
use crate::message::{Mailbox, Uid};
use crate::source::ImapSource;
use crate::source::fetch_ahead::FetchesAhead;
use crate::source::folders::OthersMethod;
use crate::source::listing::{MAX_PREFETCHED, PrefetchedListing, complete_listings};
use crate::untrusted::Untrusted;

/// IDLE commands without any response after which the server is polled instead.
const MAX_IDLE_TIMEOUTS: u32 = 2;

/// A session that breaks again within this time is not replaced at once.
const MIN_RECONNECT_INTERVAL: Duration = Duration::from_secs(10);

/// The options of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitOptions {
    /// Whether IDLE may be used.
    pub use_idle: bool,
    /// How long to wait without IDLE.
    pub poll_interval: Duration,
    /// When the wait ends at the latest.
    pub until: Instant,
}

/// What was learned about the server, for its next session.
#[derive(Debug, Default)]
pub(super) struct ServerQuirks {
    /// IDLE commands in a row without any response.
    idle_timeouts: u32,
    loses_pipelined_commands: bool,
    /// It announces NOTIFY, and rejects it or does not notify of everything.
    pub(super) lacks_notify: bool,
    /// The wait method that was logged last.
    logged_method: Option<String>,
}

impl ServerQuirks {
    pub(super) fn apply_to(&self, session: &mut Session) {
        if self.loses_pipelined_commands {
            session.disable_pipelining();
        }
    }

    /// A response to what was asked for ahead did not come.
    pub(super) fn learn_from_silence(&mut self) {
        self.loses_pipelined_commands = true;
    }

    fn learn_from(&mut self, session: &Session) {
        self.loses_pipelined_commands |= session.loses_pipelined_commands();
    }
}

impl ImapSource {
    /// Waits for new mail: by IDLE where the server offers it and the options allow it, else until
    /// the poll interval is over; never longer than an IDLE may last. Returns at once if the server
    /// reported new mail since the last [check](ImapSource::check_for_mail), or if the session
    /// broke.
    ///
    /// However the wait ended, a check must follow, and after the check a pass: this drops the
    /// listing that the last check prefetched, and each check reports new mail once.
    ///
    /// # Errors
    /// The connection broke. The next check opens another.
    pub fn wait_for_mail(&mut self, options: WaitOptions) -> Result<WaitOutcome> {
        self.prefetched = PrefetchedListing::default();
        self.settle_ahead();
        self.ahead = FetchesAhead::default();
        let result = self.wait_on_session(options);
        if let Some(session) = &self.session {
            self.quirks.learn_from(session);
        }
        // Cancelling breaks the connection, too.
        if self.connector.options.canceller.is_cancelled() {
            return Ok(WaitOutcome::Woken);
        }
        result.map_err(|error| self.unavailable(&error, "waiting for new mail"))
    }

    /// How the folder is watched, for the user: `IDLE`, or `polling every 60 s`; and how the others are.
    #[must_use]
    pub fn wait_method(&self, options: WaitOptions) -> String {
        let polling = format!("polling every {} s", options.poll_interval.as_secs());
        let is_idling = self.session.as_ref().is_some_and(Session::is_idling);
        match (is_idling, self.others.method) {
            (false, _) => polling,
            (true, None) => "IDLE".to_owned(),
            (true, Some(OthersMethod::Notify)) => {
                "IDLE, and the other folders by NOTIFY".to_owned()
            }
            (true, Some(OthersMethod::Polling)) => {
                format!("IDLE, and the other folders by {polling}")
            }
            (true, Some(OthersMethod::Connections { watched, polled: 0 })) => {
                format!("IDLE, and other folders: {watched} by IDLE on further connections")
            }
            (true, Some(OthersMethod::Connections { watched, polled })) => format!(
                "IDLE, and other folders: {watched} by IDLE on further connections, {polled} by {polling}"
            ),
        }
    }

    /// Returns the current state of the folder, for the next pass: with one round trip on the open
    /// session, or on a new session if that broke. Few new messages are listed in the same round
    /// trip, so that the pass needs none for it.
    ///
    /// # Errors
    /// As for [`open`](ImapSource::open).
    pub fn check_for_mail(&mut self) -> Result<Mailbox> {
        self.prefetched = PrefetchedListing::default();
        self.settle_ahead();
        self.ahead = FetchesAhead::default();
        let usable = self.session.take().filter(Session::is_usable);
        if let Some(mut session) = usable {
            // A session may go on showing a folder that was replaced long ago.
            let is_stale = self.last_examine.elapsed() >= self.connector.options.timeouts.idle_max;
            let checked = if is_stale {
                Ok(None)
            } else {
                self.check_on_session(&mut session)
            };
            match checked {
                Ok(Some(mailbox)) => return Ok(self.keep(session, mailbox)),
                Ok(None) => {
                    let mailbox = session.examine(&self.connector.config.folder)?;
                    self.last_examine = Instant::now();
                    return Ok(self.keep(session, mailbox));
                }
                Err(error) => {
                    debug!("checking for new mail: {error}");
                    self.quirks.learn_from(&session);
                    self.check_reconnect_interval(&error)?;
                }
            }
        }
        let (mut session, mailbox) = self.connector.open()?;
        self.quirks.apply_to(&mut session);
        self.last_examine = Instant::now();
        Ok(self.keep(session, mailbox))
    }

    /// Fails if the last session broke a moment ago as well: a server may lock out who reconnects
    /// too often.
    fn check_reconnect_interval(&mut self, error: &CommandError) -> Result<(), Error> {
        let last = self.last_reconnect.replace(Instant::now());
        if last.is_none_or(|last| last.elapsed() >= MIN_RECONNECT_INTERVAL) {
            return Ok(());
        }
        Err(self.unavailable(error, "checking for new mail"))
    }

    pub(super) fn keep(&mut self, session: Session, mailbox: Mailbox) -> Mailbox {
        self.session = Some(session);
        self.mailbox = mailbox;
        self.may_have_missed_mail = false;
        mailbox
    }

    /// Whether the open session idles, or would.
    pub(super) fn may_idle(&mut self) -> bool {
        let has_responded = self.quirks.idle_timeouts < MAX_IDLE_TIMEOUTS;
        let session = self.session.as_mut().filter(|session| session.is_usable());
        has_responded && session.is_some_and(|session| session.offers_idle().unwrap_or_default())
    }

    fn wait_on_session(&mut self, options: WaitOptions) -> Result<WaitOutcome, CommandError> {
        let may_idle = options.use_idle && self.quirks.idle_timeouts < MAX_IDLE_TIMEOUTS;
        let Some(session) = self.session.as_mut().filter(|session| session.is_usable()) else {
            return Ok(WaitOutcome::Elapsed);
        };
        if session.has_new_mail() || self.may_have_missed_mail {
            return Ok(WaitOutcome::NewMail);
        }
        if may_idle && !session.is_idling() && session.offers_idle()? {
            match session.start_idle()? {
                IdleStart::Started => self.quirks.idle_timeouts = 0,
                IdleStart::Unsupported => {
                    debug!("the source announces IDLE and rejects it");
                }
                IdleStart::NoResponse => {
                    self.quirks.idle_timeouts += 1;
                    // Perhaps it lost the IDLE because that came in the same packet as the NOOP.
                    self.quirks.loses_pipelined_commands = true;
                    warn!(
                        "the source announces IDLE and does not respond to it; connecting again \
                         (if this persists, use --no-idle)"
                    );
                    return Ok(WaitOutcome::Elapsed);
                }
            }
        }
        self.log_wait_method(options);
        loop {
            let Some(session) = self.session.as_mut() else {
                return Ok(WaitOutcome::Elapsed);
            };
            let until = if session.is_idling() {
                options.until
            } else {
                options.until.min(Instant::now() + options.poll_interval)
            };
            if let Some(outcome) = session.wait_for_mail(until)? {
                return Ok(outcome);
            }
            debug!("the source ended the IDLE; waiting without it");
        }
    }

    /// Logs how the folder is watched, once and when that changes.
    fn log_wait_method(&mut self, options: WaitOptions) {
        let method = self.wait_method(options);
        if self.quirks.logged_method.as_ref() != Some(&method) {
            info!(
                "watching {} by {method}",
                Untrusted::new(&self.connector.config.folder)
            );
            self.quirks.logged_method = Some(method);
        }
    }

    /// Asks for new messages with one write. Within one session UIDVALIDITY cannot change (RFC 3501
    /// 2.3.1.1), and UIDs only rise. None if the server rejects the command, or reported mail that
    /// it does not return: the folder may have been replaced.
    fn check_on_session(&mut self, session: &mut Session) -> Result<Option<Mailbox>, CommandError> {
        let from = self.mailbox.uid_next;
        let reported = session.transcript().mailbox_status().new_messages;
        let found = if (1..=MAX_PREFETCHED).contains(&reported) {
            let list = Command::UidFetch(FetchedUids::From(from), FetchItems::Listing);
            run_check(session, vec![list])?.map(|responses| self.prefetch_listing(from, &responses))
        } else {
            // A session sees what was reported to it, and the NOOP makes the server report.
            let search = Command::UidSearch(format!("UID {from}:*"));
            run_check(session, vec![Command::Noop, search])?
                .map(|responses| search_results(&responses))
        };
        let Some(found) = found else {
            return Ok(None);
        };
        // A server returns 41 for `42:*` if 41 is the last (RFC 3501 6.4.8).
        let new: Vec<Uid> = found.into_iter().filter(|uid| *uid >= from).collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        session.transcript().record_check(reported, count);
        if new.is_empty() && reported > 0 {
            debug!("the source reported new mail, and there is none");
            return Ok(None);
        }
        let highest = new.iter().max().copied();
        let after = |uid: Uid| Uid::new(uid.get().saturating_add(1)).unwrap_or(uid);
        let exists = session.transcript().mailbox_status().exists;
        Ok(Some(Mailbox {
            uid_validity: self.mailbox.uid_validity,
            uid_next: highest.map_or(from, after),
            exists: exists.unwrap_or(self.mailbox.exists).max(count),
        }))
    }

    /// Keeps the listing of new messages for the pass that follows, and returns their UIDs.
    fn prefetch_listing(&mut self, from: Uid, responses: &Responses) -> Vec<Uid> {
        let mut messages = read_attributes(responses);
        messages.retain(|uid, _| *uid >= from);
        let uids: Vec<Uid> = messages.keys().copied().collect();
        if let Some(last) = uids.last() {
            self.prefetched = PrefetchedListing::new(from, *last, complete_listings(messages));
        }
        uids
    }
}

/// Runs commands in one write and returns all their responses; none if the last is rejected.
fn run_check(
    session: &mut Session,
    commands: Vec<Command>,
) -> Result<Option<Responses>, CommandError> {
    let results = session.pipeline(commands)?;
    if let Some(Err(error)) = results.last() {
        debug!("the source rejects the check for new mail: {error}");
        return Ok(None);
    }
    // Dovecot may respond to the NOOP after the search that came with it, and report mail then.
    let mut responses = Responses::default();
    for result in results {
        responses.append(result.unwrap_or_default());
    }
    Ok(Some(responses))
}
