//! Watches one more folder by IDLE, on a connection and a thread of its own, at a server without NOTIFY
//! (RFC 5465). It only says that there is something new; the check that follows finds what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, info};

use crate::config::SourceConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::imap::{IdleStart, LoginHistory, Session, WaitOutcome};
use crate::net::{ConnectionOptions, Trust};
use crate::process::cancel::{Canceller, SleepResult};
use crate::retry::{Backoff, RECONNECT_DELAYS, REFUSED_CONNECTION_DELAY};
use crate::source::connector::SourceConnector;
use crate::timeouts::LOGOUT_TIMEOUT;
use crate::untrusted::Untrusted;

/// The connection is checked for this long at least before it reports news again: a server that reports
/// the same again and again must not make the source busy.
const MIN_NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// A running watcher; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct FolderWatcher {
    folder: String,
    shared: Arc<WatcherState>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct WatcherState {
    /// Wakes and cancels the waits of the thread only.
    canceller: Canceller,
    /// Wakes the wait of the owner.
    owner: Canceller,
    must_end: AtomicBool,
    /// The server reports what comes to the folder now.
    is_idling: AtomicBool,
}

/// The thread.
struct WatcherThread {
    connector: SourceConnector,
    state: Arc<WatcherState>,
}

/// Why a watcher stopped watching.
enum Stopped {
    /// It is to end.
    Ended,
    /// The connection broke, or could not be opened.
    Lost(Error),
    /// The server does not let it watch.
    Refused(String),
}

impl FolderWatcher {
    /// Starts to watch a folder; the owner is woken when there may be news, and when nothing is reported any
    /// more.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn start(
        config: &SourceConfig,
        folder: &str,
        trust: Trust,
        options: &ConnectionOptions,
        history: LoginHistory,
    ) -> std::io::Result<FolderWatcher> {
        let state = Arc::new(WatcherState {
            canceller: Canceller::new()?,
            owner: options.canceller.clone(),
            must_end: AtomicBool::new(false),
            is_idling: AtomicBool::new(false),
        });
        let config = SourceConfig {
            folder: folder.to_owned(),
            ..config.clone()
        };
        let options = ConnectionOptions {
            canceller: state.canceller.clone(),
            ..options.clone()
        };
        let watcher = WatcherThread {
            connector: SourceConnector::new(config, trust, options, history),
            state: Arc::clone(&state),
        };
        Ok(FolderWatcher {
            folder: folder.to_owned(),
            shared: state,
            thread: Some(thread::Builder::new().spawn(move || watcher.run())?),
        })
    }

    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Whether the server reports what comes to the folder.
    pub fn is_watching(&self) -> bool {
        self.shared.is_idling.load(Ordering::Acquire)
    }

    /// Tells the thread to log out and end.
    pub fn end(&self) {
        self.shared.must_end.store(true, Ordering::Release);
        self.shared.canceller.wake();
        self.shared
            .canceller
            .cancel_at(Instant::now() + LOGOUT_TIMEOUT);
    }

    /// Waits until the thread has logged out.
    pub fn join(mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing to log out from.
            let _ = thread.join();
        }
    }
}

impl Drop for FolderWatcher {
    fn drop(&mut self) {
        self.end();
    }
}

impl WatcherThread {
    /// Watches until it is to end. After a failure the folder is looked at in other ways for a while.
    fn run(self) {
        let (first, longest) = RECONNECT_DELAYS;
        let mut backoff = Backoff::new(first, longest);
        while !self.must_end() {
            let stopped = self.watch(&mut backoff);
            let was_idling = self.state.is_idling.swap(false, Ordering::AcqRel);
            if self.must_end() {
                break;
            }
            if was_idling {
                // From now on its owner must look itself.
                self.state.owner.wake();
            }
            let folder = Untrusted::new(&self.connector.config.folder).to_string();
            let delay = match stopped {
                Stopped::Ended => break,
                Stopped::Lost(error) => {
                    debug!("watching {folder}: {error}");
                    backoff.next_delay()
                }
                Stopped::Refused(why) => {
                    info!("{folder} cannot be watched on a further connection: {why}");
                    REFUSED_CONNECTION_DELAY
                }
            };
            let until = Instant::now() + delay;
            while Instant::now() < until && !self.must_end() {
                if self.state.canceller.sleep(until) == SleepResult::Elapsed {
                    break;
                }
            }
        }
    }

    fn must_end(&self) -> bool {
        self.state.must_end.load(Ordering::Acquire) || self.state.canceller.is_cancelled()
    }

    /// Watches over one connection.
    fn watch(&self, backoff: &mut Backoff) -> Stopped {
        let mut session = match self.connector.open() {
            Ok((session, _)) => session,
            // The log-in, the folder, or one connection more: it stays so for a while.
            Err(error) if error.kind() != ErrorKind::Unavailable => {
                return Stopped::Refused(error.to_string());
            }
            Err(error) if error.consequence().is_some() => {
                return Stopped::Refused(error.to_string());
            }
            Err(error) => return Stopped::Lost(error),
        };
        let stopped = self.watch_session(&mut session, backoff);
        match stopped {
            Ok(stopped) => {
                session.logout();
                stopped
            }
            Err(error) => Stopped::Lost(error),
        }
    }

    fn watch_session(&self, session: &mut Session, backoff: &mut Backoff) -> Result<Stopped> {
        let folder = &self.connector.config.folder;
        // What came before the IDLE began is found by the check that follows.
        let mut has_news = true;
        loop {
            if !session.is_idling() {
                let started = self.start_idle(session)?;
                if let Some(refused) = started {
                    return Ok(refused);
                }
            }
            self.state.is_idling.store(true, Ordering::Release);
            if std::mem::take(&mut has_news) {
                self.state.owner.wake();
                let until = Instant::now() + MIN_NEWS_INTERVAL;
                let _ = self.state.canceller.sleep(until);
            }
            if self.must_end() {
                return Ok(Stopped::Ended);
            }
            let until = Instant::now() + self.connector.options.timeouts.idle_max;
            let waited = session.wait_for_mail(until);
            match waited.map_err(|failure| self.lost(failure))? {
                Some(WaitOutcome::NewMail) => {
                    // Nothing is reported until the next IDLE, and nothing of what comes meanwhile is
                    // missed: the owner looks after that has begun.
                    session.examine(folder)?;
                    has_news = true;
                }
                Some(WaitOutcome::Woken) if self.must_end() => return Ok(Stopped::Ended),
                Some(WaitOutcome::Elapsed) => {
                    session.examine(folder)?;
                    backoff.reset();
                }
                Some(WaitOutcome::Woken) | None => {}
            }
        }
    }

    /// Has the server report what comes to the folder; why not, if it does not.
    fn start_idle(&self, session: &mut Session) -> Result<Option<Stopped>> {
        let lost = |failure| self.lost(failure);
        let started = if session.offers_idle().map_err(lost)? {
            session.start_idle().map_err(lost)?
        } else {
            IdleStart::Unsupported
        };
        Ok(match started {
            IdleStart::Started => None,
            IdleStart::Unsupported => {
                let why = "the server does not take IDLE".to_owned();
                Some(Stopped::Refused(why))
            }
            IdleStart::NoResponse => {
                let why = "the server does not respond to IDLE".to_owned();
                Some(Stopped::Refused(why))
            }
        })
    }

    fn lost(&self, failure: impl std::fmt::Display) -> Error {
        let server = &self.connector.config.server;
        self.connector
            .options
            .error(server, ErrorKind::Unavailable, failure)
            .during("watching a folder")
    }
}
