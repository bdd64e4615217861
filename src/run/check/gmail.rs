//! Gmail: the token, one log-in, and the folders.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::config::FolderConfig;
use crate::delivery::gmail_imap::{
    GmailInspection, GmailInspector, GmailTargetOptions, InspectedToken, STORAGE_FULL_REMEDY,
};
use crate::delivery::verify_import;
use crate::error::{Error, ErrorKind, Side};
use crate::imap::{ListedFolder, NameAttribute, StorageQuota};
use crate::message::DeliveryMethod;
use crate::net::Trust;
use crate::oauth::{RenewalPolicy, TokenHealth};
use crate::run::check::CheckedAccount;
use crate::run::check::connection::check_connection;
use crate::run::check::finding::{Findings, Group};
use crate::size::format_size;
use crate::state::GmailState;
use crate::suggest::suggest;
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

const GROUP: Group = Group::Gmail;

/// A token is renewed four minutes before it expires.
const MAX_CLOCK_ERROR: TimeDelta = TimeDelta::minutes(2);

/// Storage that is fuller than this is warned of.
const MAX_STORAGE_PERCENT: u64 = 95;

impl CheckedAccount<'_> {
    /// Returns what Gmail shows, if the token is accepted.
    pub(super) fn check_gmail(&self, findings: &mut Findings<'_>) -> Option<GmailInspection> {
        if self.is_interrupted() {
            return None;
        }
        let target = &self.config.target;
        if let Err(error) = Trust::for_server(&target.server) {
            findings.fail(GROUP, "certificates", &error);
            return None;
        }
        let (connection, recorder) = self.connection_options();
        let clock = self.context.timing.clock;
        let inspector = GmailInspector::new(GmailTargetOptions {
            config: target.clone(),
            now: Arc::new(move || clock.now()),
            connection,
            // A person asks, who may have corrected what was rejected.
            rejected_token: None,
            renewal: RenewalPolicy::KeepInMemory,
        });
        // A renewal changes it: the age that the file does not know begins then.
        let before = inspector.token().map(|token| token.health);
        let inspected = inspector.log_in();
        let (token_failure, inspected) = match inspected {
            Err(error) if error.side() == Side::Token => {
                (Some(error), inspector.probe().map(|()| None))
            }
            inspected => (None, inspected.map(Some)),
        };
        if self.is_interrupted() {
            return None;
        }
        let (record, failure) = (recorder.record(), inspected.as_ref().err());
        let is_reached = check_connection(
            GROUP,
            &target.server,
            &record,
            failure,
            clock.now(),
            findings,
        );
        if let (Ok(token), Ok(before)) = (inspector.token(), before) {
            let health = TokenHealth {
                expires: token.health.expires,
                access_token_expires: None,
                ..before
            };
            let token = InspectedToken { health, ..token };
            let is_accepted = matches!(inspected, Ok(Some(_)));
            self.check_token(&token, token_failure.as_ref(), is_accepted, findings);
        }
        let inspection = match inspected {
            Ok(inspection) => inspection,
            Err(error) => {
                if is_reached {
                    findings.fail(GROUP, "log-in", &error);
                }
                None
            }
        };
        if let Some(inspection) = &inspection {
            self.check_account_at_gmail(inspection, findings);
            self.check_import(&inspector, &inspection.folders.folders, findings);
        }
        if let Some(state) = self.state {
            self.check_limits(&state.gmail, findings);
        }
        inspection
    }

    fn check_token(
        &self,
        token: &InspectedToken,
        failure: Option<&Error>,
        is_accepted: bool,
        findings: &mut Findings<'_>,
    ) {
        let remedy = &token.new_token_remedy;
        // The failure names the host itself.
        let foreign_host_warning = token.foreign_host_warning.as_ref();
        if let Some(warning) = foreign_host_warning.filter(|_| failure.is_none()) {
            findings.warn(GROUP, "token", warning, "use the file that Google provides");
        }
        let rejected = |what: &str| {
            let place = Untrusted::path(&self.config.target.token_file);
            Error::new(Side::Token, ErrorKind::Rejected, place, what).remedy(remedy)
        };
        let renewal = token.renewal.as_ref();
        if renewal.is_some_and(|renewal| renewal.is_rotation_unsaved) {
            let what = "the token endpoint replaced the refresh token, and a check does not save the \
                        new one: runs may be rejected";
            findings.fail(GROUP, "token", &rejected(what));
        }
        let is_for_mail = match renewal {
            Some(renewal) => renewal.has_mail_scope,
            None => is_accepted || token.names_mail_scope != Some(false),
        };
        if !is_for_mail {
            let what = "the token gives no access to mail: the box for it was not ticked";
            findings.fail(GROUP, "token", &rejected(what));
        }
        if let Some(error) = failure {
            findings.fail(GROUP, "token", error);
            return;
        }
        let now = self.context.timing.clock.now();
        let clock_error = renewal.and_then(|renewal| renewal.server_time);
        let clock_error = clock_error.map(|time| now.signed_duration_since(time));
        if let Some(error) = clock_error.filter(|error| error.abs() > MAX_CLOCK_ERROR) {
            findings.warn(
                GROUP,
                "clock",
                format_args!(
                    "the clock of this host differs from the token endpoint's by {} s",
                    error.num_seconds()
                ),
                "set the clock, and keep it right by NTP: retries, limits and tokens depend on it",
            );
        }
        let health = &token.health;
        if !token.is_renewable {
            findings.warn(
                GROUP,
                "token",
                "there is no refresh_token: the access token is used until Gmail rejects it, after about \
                 an hour",
                remedy,
            );
        } else if let Some(warning) = health.warning(now) {
            findings.warn(
                GROUP,
                "token",
                warning,
                format_args!("publish the app, then {remedy}"),
            );
        } else {
            let renewed = match renewal {
                Some(_) => "; renewed for this check, and not saved",
                None => "",
            };
            findings.ok(GROUP, "token", format_args!("{health}{renewed}"));
        }
    }

    fn check_account_at_gmail(&self, inspection: &GmailInspection, findings: &mut Findings<'_>) {
        let user = Untrusted::new(&self.config.target.user);
        findings.ok(
            GROUP,
            "log-in",
            format_args!("the token is accepted for {user}"),
        );
        let folders = &inspection.folders.folders;
        if matches!(self.config.folders, FolderConfig::Single(_)) {
            self.check_target_folder(folders, findings);
        }
        let is_all_mail = |folder: &&ListedFolder| folder.attributes.contains(&NameAttribute::All);
        match folders.iter().find(is_all_mail) {
            Some(folder) => {
                let name = Untrusted::new(&folder.name);
                findings.ok(GROUP, "All Mail", format_args!("{name:?} is shown by IMAP"));
            }
            None => findings.warn(
                GROUP,
                "All Mail",
                "it is hidden: only the target folder is searched for mail that is there already",
                "in Gmail's settings, Labels, tick \"Show in IMAP\" for All Mail",
            ),
        }
        let limit = inspection.capabilities.append_limit();
        let limit = limit.map_or("no limit is announced".to_owned(), |limit| {
            format!("messages of up to {} are taken", format_size(limit))
        });
        findings.ok(GROUP, "message size", limit);
        if let Some(storage) = inspection.storage {
            check_storage(storage, findings);
        }
    }

    /// Whether the Gmail API can be used, if the configuration wants it; and whether imports are found again.
    fn check_import(
        &self,
        inspector: &GmailInspector,
        folders: &[ListedFolder],
        findings: &mut Findings<'_>,
    ) {
        let Some(import) = &self.config.target.import else {
            return;
        };
        let is_spam = |folder: &ListedFolder| folder.attributes.contains(&NameAttribute::Junk);
        if !import.never_spam && !folders.iter().any(is_spam) {
            findings.warn(
                GROUP,
                "Spam",
                "it is hidden: an import that Gmail takes for spam arrives there twice if the answer to it \
                 is lost",
                "in Gmail's settings, Labels, tick \"Show in IMAP\" for Spam, or set import_never_spam",
            );
        }
        match verify_import(inspector, import) {
            Ok(()) => findings.ok(
                GROUP,
                "delivery",
                "the Gmail API is switched on for imports",
            ),
            Err(error) => findings.fail(GROUP, "delivery", &error),
        }
    }

    fn check_target_folder(&self, folders: &[ListedFolder], findings: &mut Findings<'_>) {
        let wanted = self.config.target.folder.as_str();
        let shown = Untrusted::new(wanted);
        let found = folders.iter().find(|folder| folder.name == wanted);
        let is_inbox = wanted.eq_ignore_ascii_case("INBOX");
        if found.is_some_and(|folder| folder.attributes.contains(&NameAttribute::NoSelect)) {
            let what = format_args!("{shown:?} holds folders only, and no messages");
            let place = self.config.target.server.address();
            let error = Error::new(Side::Gmail, ErrorKind::Config, place, what);
            findings.fail(GROUP, "folder", &error.remedy("correct target_folder"));
        } else if found.is_some() || is_inbox {
            findings.ok(GROUP, "folder", format_args!("{shown:?} exists"));
        } else {
            let missing = format_args!("{shown:?} does not exist; the first message creates it");
            let names = folders.iter().map(|folder| folder.name.as_str());
            match suggest(wanted, names) {
                Some(similar) => findings.warn(
                    GROUP,
                    "folder",
                    missing,
                    format_args!("did you mean {:?}?", Untrusted::new(similar)),
                ),
                None => findings.ok(GROUP, "folder", missing),
            }
        }
    }

    /// What the state says of uploads, and of a rest.
    fn check_limits(&self, gmail: &GmailState, findings: &mut Findings<'_>) {
        let now = self.context.timing.clock.now();
        let uploaded = gmail.sent_in_last_day(DeliveryMethod::Append, now);
        self.check_limit("uploads", uploaded, findings);
        let imported = gmail.sent_in_last_day(DeliveryMethod::Import, now);
        if self.config.target.import.is_some() {
            self.check_limit("imports", imported, findings);
        }
        if let Some(until) = gmail.resting_until(now) {
            let until = format_time(until);
            findings.warn(
                GROUP,
                "rest",
                format_args!("runs send nothing to Gmail until {until}"),
                if gmail.is_storage_full {
                    STORAGE_FULL_REMEDY
                } else {
                    "none is needed: copying then goes on by itself; status says why"
                },
            );
        }
    }

    /// What was sent in 24 hours, of what may be.
    fn check_limit(&self, what: &'static str, sent: u64, findings: &mut Findings<'_>) {
        let shown = format_size(sent);
        match self.config.daily_upload_limit {
            Some(limit) if sent >= limit => findings.warn(
                GROUP,
                what,
                format_args!(
                    "{shown} in 24 hours: the limit of {} is used up",
                    format_size(limit)
                ),
                "copying goes on by itself within a day (daily_upload_limit)",
            ),
            Some(limit) => {
                let limit = format_size(limit);
                findings.ok(GROUP, what, format_args!("{shown} of {limit} in 24 hours"));
            }
            None => findings.ok(GROUP, what, format_args!("{shown} in 24 hours, no limit")),
        }
    }
}

fn check_storage(storage: StorageQuota, findings: &mut Findings<'_>) {
    let percent = storage.used.saturating_mul(100) / storage.limit.max(1);
    let [used, limit] = [storage.used, storage.limit].map(format_size);
    let found = format!("{used} of {limit} are used ({percent} %)");
    if percent >= MAX_STORAGE_PERCENT {
        let remedy = "delete something large, or buy more (https://one.google.com/storage)";
        findings.warn(GROUP, "storage", found, remedy);
    } else {
        findings.ok(GROUP, "storage", found);
    }
}
