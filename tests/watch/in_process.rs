//! The library waits for mail and copies it in this process, for tests that count round trips.
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use imap_to_gmail_sync::config::{Config, Environment};
use imap_to_gmail_sync::delivery::gmail_imap;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTarget;
use imap_to_gmail_sync::message::Mailbox;
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::state::journal::StateStore;
use imap_to_gmail_sync::state::storage::FolderStorage;
use imap_to_gmail_sync::sync;
use imap_to_gmail_sync::sync::Pass;
use serde_json::json;

use crate::program::Home;

/// Longer than anything here takes: a wait that reaches it fails the test.
const LONG: Duration = Duration::from_secs(30);

/// An open source and everything that a pass needs.
pub struct InProcess<'a> {
    home: &'a Home,
    config: Config,
    store: StateStore,
    source: ImapSource,
    mailbox: Mailbox,
    gmail: GmailTarget,
    canceller: Canceller,
}

impl InProcess<'_> {
    /// Opens the source and does the first pass.
    pub fn open(home: &Home) -> InProcess<'_> {
        // Relative paths would be relative to this process's folder.
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
        let canceller = Canceller::new().unwrap();
        let options = ConnectionOptions {
            canceller: canceller.clone(),
            ..ConnectionOptions::default()
        };
        let password = config.source.password.read().unwrap();
        let (source, mailbox) =
            ImapSource::open(&config.source, password, options.clone()).unwrap();
        let mut sync = InProcess {
            home,
            store: StateStore::load(disk, Utc::now()).unwrap(),
            source,
            mailbox,
            gmail: GmailTarget::new(gmail_imap::GmailTargetOptions {
                config: config.target.clone(),
                now: Arc::new(Utc::now),
                connection: options,
                rejected_token: None,
                renewal: RenewalPolicy::Save,
            }),
            config,
            canceller,
        };
        sync.pass();
        sync
    }

    /// Returns when everything is copied and an IDLE is running.
    pub fn wait_for_idle(&mut self) {
        self.canceller.wake();
        while self.source.wait_for_mail(long_idle()).unwrap() != WaitOutcome::Woken {
            self.check();
            self.canceller.wake();
        }
    }

    /// Delivers a message and returns when it has been copied.
    pub fn deliver_and_copy(&mut self, id: &str) {
        let octets = format!("Message-ID: {id}\r\nSubject: s\r\n\r\nbody\r\n");
        let date = Utc::now().fixed_offset();
        self.home.source.deliver(octets.as_bytes(), date, &[]);
        let before = self.mailbox;
        while self.mailbox == before {
            self.wait_and_copy();
        }
    }

    /// Copies new mail up to the UID `last`; returns the number of passes.
    pub fn copy_up_to(&mut self, last: u32) -> usize {
        let mut passes = 0;
        while self.mailbox.uid_next.get() <= last {
            self.wait_and_copy();
            passes += 1;
        }
        passes
    }

    fn wait_and_copy(&mut self) {
        let outcome = self.source.wait_for_mail(long_idle()).unwrap();
        assert_eq!(outcome, WaitOutcome::NewMail);
        self.check();
    }

    fn check(&mut self) {
        self.mailbox = self.source.check_for_mail().unwrap();
        self.pass();
    }

    fn pass(&mut self) {
        self.gmail.start_pass(0);
        let options = sync::PassOptions {
            source: self.config.source_name(),
            first_run_days: self.config.first_run_days,
            copy_flags: self.config.copy_flags,
            daily_upload_limit: self.config.daily_upload_limit,
            since: None,
            target_folder: self.config.target.folder.clone(),
            labels: Vec::new(),
            labels_moved: false,
            sets_labels: true,
            import: None,
            one_of_several: None,
        };
        let pass = Pass {
            source: &mut self.source,
            target: &mut self.gmail,
            store: &mut self.store,
            options: &options,
            progress: &mut (),
            now: &Utc::now,
        };
        let pass = pass.run(&self.mailbox, Utc::now()).unwrap();
        pass.labels.unwrap();
    }
}

fn long_idle() -> WaitOptions {
    WaitOptions {
        use_idle: true,
        poll_interval: LONG,
        until: Instant::now() + LONG,
    }
}
