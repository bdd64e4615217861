//! A home whose source is watched by the library, in this process.
#![allow(dead_code)]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use imap_to_gmail_sync::config::{Config, Environment};
use imap_to_gmail_sync::delivery::gmail_imap;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTarget;
use imap_to_gmail_sync::message::Mailbox;
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::FolderStorage;
use imap_to_gmail_sync::sync;
use imap_to_gmail_sync::sync::Pass;
use serde_json::json;

use crate::program::Home;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A source that is watched, and all that its mail passes through.
pub struct Watched<'a> {
    home: &'a Home,
    config: Config,
    store: StateStore,
    source: ImapSource,
    mailbox: Mailbox,
    gmail: GmailTarget,
    tether: Canceller,
}

impl Watched<'_> {
    /// Opens the source and does the first pass.
    pub fn open(home: &Home) -> Watched<'_> {
        // Relative paths are the program's own folder's; this process has another.
        for (field, file) in [
            ("source_ca_file", "source.pem"),
            ("target_ca_file", "gmail.pem"),
            ("target_token_file", "token.json"),
        ] {
            home.configure(&json!({ field: home.path(file) }));
        }
        let config =
            Config::load(&home.path("config.json"), &Environment::of_this_process()).unwrap();
        let disk = Box::new(FolderStorage::new(&home.path("sync_state.json")));
        let tether = Canceller::new().unwrap();
        let bounds = ConnectionOptions {
            canceller: tether.clone(),
            ..ConnectionOptions::default()
        };
        let password = config.source.password.read().unwrap();
        let (source, mailbox) =
            ImapSource::open_with_options(&config.source, password, bounds.clone()).unwrap();
        let mut watched = Watched {
            home,
            store: StateStore::load(disk, Utc::now()).unwrap(),
            source,
            mailbox,
            gmail: GmailTarget::new(gmail_imap::GmailTargetOptions {
                config: config.target.clone(),
                now: Arc::new(Utc::now),
                connection: bounds,
                rejected_token: None,
                is_dry_run: false,
            }),
            config,
            tether,
        };
        watched.pass();
        watched
    }

    /// Returns when an IDLE is on and nothing is left to be carried.
    pub fn wait_for_idle(&mut self) {
        self.tether.wake();
        while self.source.wait_for_mail(waiting()).unwrap() != WaitOutcome::Woken {
            self.look();
            self.tether.wake();
        }
    }

    /// Mail arrives; returns when it has been carried.
    pub fn deliver_and_carry(&mut self, id: &str) {
        let octets = format!("Message-ID: {id}\r\nSubject: s\r\n\r\nbody\r\n");
        let date = Utc::now().fixed_offset();
        self.home.source.deliver(octets.as_bytes(), date, &[]);
        let before = self.mailbox;
        while self.mailbox == before {
            assert_eq!(
                self.source.wait_for_mail(waiting()).unwrap(),
                WaitOutcome::NewMail
            );
            self.look();
        }
    }

    /// Carries what arrives meanwhile, until so many messages are there; says how many passes that
    /// took.
    pub fn carry_while(&mut self, count: u32, deliver: impl Fn(u32) + Send) -> usize {
        let mut passes = 0;
        let last = self.mailbox.uid_next.get() + count;
        thread::scope(|scope| {
            scope.spawn(|| (0..count).for_each(deliver));
            while self.mailbox.uid_next.get() < last {
                assert_eq!(
                    self.source.wait_for_mail(waiting()).unwrap(),
                    WaitOutcome::NewMail
                );
                self.look();
                passes += 1;
            }
        });
        passes
    }

    fn look(&mut self) {
        self.mailbox = self.source.check_for_mail().unwrap();
        self.pass();
    }

    fn pass(&mut self) {
        self.gmail.start_pass(0);
        let settings = sync::PassOptions {
            source: self.config.source_name(),
            first_run_days: self.config.first_run_days,
            copy_flags: self.config.copy_flags,
            daily_upload_limit: self.config.daily_upload_limit,
        };
        let pass = Pass {
            source: &mut self.source,
            target: &mut self.gmail,
            store: &mut self.store,
            settings: &settings,
            progress: &mut (),
            now: &Utc::now,
        };
        pass.run(&self.mailbox, Utc::now()).unwrap();
    }
}

fn waiting() -> WaitOptions {
    WaitOptions {
        use_idle: true,
        poll_interval: LONG,
        until: Instant::now() + LONG,
    }
}
