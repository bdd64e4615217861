//! The source: one log-in, and the folders.

use std::time::Instant;

use crate::config::Password;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::imap::{CommandError, LoginForm, LoginHistory};
use crate::message::Mailbox;
use crate::net::Trust;
use crate::run::check::CheckedAccount;
use crate::run::check::connection::check_connection;
use crate::run::check::finding::{Findings, Group};
use crate::secret::Secret;
use crate::source::{InspectedFolders, SourceInspection};
use crate::timeouts::PASSWORD_COMMAND_TIMEOUT;
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

const GROUP: Group = Group::Source;

impl CheckedAccount<'_> {
    /// Returns the folders, if they were listed.
    pub(super) fn check_source(&self, findings: &mut Findings<'_>) -> Option<InspectedFolders> {
        let source = &self.config.source;
        if let Err(error) = Trust::for_server(&source.server) {
            findings.fail(GROUP, "certificates", &error);
            return None;
        }
        let (options, recorder) = self.connection_options();
        let read = self.read_password();
        if self.is_interrupted() {
            return None;
        }
        let (password, no_password) = match read {
            Ok(password) => (Some(password), None),
            Err(error) => (None, Some(error)),
        };
        let folders = &self.config.folders;
        let history = self.login_history();
        let inspected = SourceInspection::run(source, folders, password, options, history);
        if self.is_interrupted() {
            return None;
        }
        let now = self.context.timing.clock.now();
        let (record, failure) = (recorder.record(), inspected.as_ref().err());
        let is_reached = check_connection(GROUP, &source.server, &record, failure, now, findings);
        if let Some(error) = &no_password {
            let error = match source.password {
                Password::Command(_) => {
                    let remedy = "run it by hand, and correct source_pass_command";
                    error.clone().remedy(remedy)
                }
                Password::Given(_) | Password::File(_) => error.clone(),
            };
            findings.fail(GROUP, "password", &error);
        }
        match inspected {
            Ok(Some(inspection)) => {
                self.check_mailbox(&inspection, findings);
                self.check_listing(inspection.folders?, findings)
            }
            Err(error) => {
                if is_reached {
                    self.report_rejected_login(&error, findings);
                }
                None
            }
            Ok(None) => None,
        }
    }

    fn check_listing(
        &self,
        folders: Result<InspectedFolders, CommandError>,
        findings: &mut Findings<'_>,
    ) -> Option<InspectedFolders> {
        let failed = |error| {
            let place = self.config.source.server.address();
            let error = Error::new(Side::Source, ErrorKind::Unavailable, place, error);
            findings.fail(GROUP, "folders", &error.during("listing the folders"));
        };
        folders.map_err(failed).ok()
    }

    /// Reads the password; an exit request ends the wait for a command.
    fn read_password(&self) -> Result<Secret> {
        let password = self.config.source.password.clone();
        let until = Instant::now() + 2 * PASSWORD_COMMAND_TIMEOUT;
        let canceller = &self.context.canceller;
        canceller
            .run_blocking(until, move || password.read())
            .unwrap_or_else(|error| {
                let place = "the password of the source";
                Err(Error::new(Side::Config, ErrorKind::Config, place, error))
            })
    }

    /// What the state knows of earlier log-ins.
    fn login_history(&self) -> LoginHistory {
        let Some(state) = self.state else {
            return LoginHistory::default();
        };
        let form = state.source.login_form.as_deref();
        LoginHistory {
            accepted: form.and_then(LoginForm::from_name),
            ..LoginHistory::default()
        }
    }

    fn report_rejected_login(&self, error: &Error, findings: &mut Findings<'_>) {
        let what = error.without_remedy();
        match self.next_attempt() {
            Some(next) => {
                let found = format!("{what} (tried once; runs try again at {next})");
                findings.fail_with(GROUP, "log-in", error, &found);
            }
            None => findings.fail(GROUP, "log-in", error),
        }
    }

    /// When runs try to log in again, if they wait for that.
    fn next_attempt(&self) -> Option<String> {
        let now = self.context.timing.clock.now();
        let stamp = self.config.credentials_stamp();
        let until = self.state?.source.login_delayed_until(&stamp, now)?;
        Some(format_time(until))
    }

    fn check_mailbox(&self, inspection: &SourceInspection, findings: &mut Findings<'_>) {
        let user = Untrusted::new(&self.config.source.user);
        match self.next_attempt() {
            None => findings.ok(GROUP, "log-in", format_args!("logged in as {user}")),
            Some(next) => findings.warn(
                GROUP,
                "log-in",
                format_args!(
                    "logged in as {user}; an earlier log-in failed, and runs wait until {next}"
                ),
                "runs then go on by themselves, or at once when the configuration changes",
            ),
        }
        match &inspection.capabilities {
            Ok(capabilities) if capabilities.has("IDLE") => {
                findings.ok(GROUP, "IDLE", "offered: --watch learns of new mail at once");
            }
            Ok(_) => findings.warn(
                GROUP,
                "IDLE",
                "not offered: --watch polls",
                "none is needed; --poll-interval says how often",
            ),
            Err(_) => {}
        }
        match &inspection.folder {
            Some(Ok(mailbox)) => self.check_folder(mailbox, findings),
            Some(Err(error)) => findings.fail(GROUP, "folder", error),
            None => {}
        }
    }

    fn check_folder(&self, mailbox: &Mailbox, findings: &mut Findings<'_>) {
        let folder = Untrusted::new(&self.config.source.folder);
        let (exists, validity) = (mailbox.exists, mailbox.uid_validity);
        let found = format!("{folder:?} holds {exists} messages, UIDVALIDITY {validity}");
        let name = self.config.source_name();
        let known = self.state.and_then(|state| state.folder.source_mailbox());
        match known.filter(|(known, before)| *known == name && *before != validity) {
            None => findings.ok(GROUP, "folder", found),
            Some((_, before)) => findings.warn(
                GROUP,
                "folder",
                format_args!(
                    "{found}; the state knows UIDVALIDITY {before}: the folder was replaced"
                ),
                "none is needed: the next run finds new mail by date",
            ),
        }
    }
}
