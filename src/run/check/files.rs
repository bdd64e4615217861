//! The files of an account: who can read and replace them, the token, the state and its lock.

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::atomic_file;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Side};
use crate::file_access;
use crate::oauth;
use crate::run::account_sync::{account_names, describe};
use crate::run::check::finding::{Findings, Group};
use crate::run::status::{StatusLimits, describe_age};
use crate::state::State;
use crate::state::lock::{self, LockHolder};
use crate::state::observation::observe;
use crate::state::storage::{self, FolderStorage};
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// Whether other users can read the secrets, or change the configuration or the state.
pub(super) fn check_protection(config: &Config, state: &Path, findings: &mut Findings<'_>) {
    let mut warnings = config.warnings().to_vec();
    warnings.extend(lock::folder_warning(state));
    warnings.extend(write_warnings(config, state));
    for warning in &warnings {
        // The remedy is the last part of each.
        let (found, remedy) = match warning.rsplit_once("; type: ") {
            Some((found, command)) => (found, format!("type: {command}")),
            None => (warning.as_str(), "correct it".to_owned()),
        };
        findings.warn(Group::Files, "protection", found, remedy);
    }
    if warnings.is_empty() {
        let found = "others can neither read the secrets nor write configuration or state";
        findings.ok(Group::Files, "protection", found);
    }
}

/// A warning for each file, and for the token's folder, that others can write.
fn write_warnings(config: &Config, state: &Path) -> Vec<String> {
    let servers = [&config.source.server, &config.target.server];
    let ca_files = servers.into_iter().filter_map(|it| it.ca_file.as_deref());
    let token_folder = file_access::folder_of(&config.target.token_file);
    // That of the state has a warning of its own.
    let is_of_state = file_access::is_same_path(token_folder, file_access::folder_of(state));
    let token_folder = Some(token_folder).filter(|_| !is_of_state);
    let state_files = storage::files(state);
    let places = (state_files
        .iter()
        .map(|file| (file.as_path(), "a file of the state")))
    .chain(ca_files.map(|file| (file, "whose certificates are trusted")))
    .chain(token_folder.map(|folder| (folder, "the folder of the token")));
    let mut warnings: Vec<String> = places
        .filter_map(|(place, what)| file_access::write_warning(place, what))
        .collect();
    // Both servers may have one file.
    warnings.dedup();
    warnings
}

/// Whether the token file can be read, and replaced when the token is renewed.
pub(super) fn check_token_file(config: &Config, findings: &mut Findings<'_>) {
    let file = &config.target.token_file;
    let shown = Untrusted::path(file);
    if let Err(error) = oauth::check_token_file(file, &config.target.auth_command) {
        findings.fail(Group::Files, "token file", &error);
        return;
    }
    match atomic_file::check_replaceable(file) {
        Ok(()) => findings.ok(
            Group::Files,
            "token file",
            format_args!("{shown} can be read, and replaced when it is renewed"),
        ),
        Err(error) => {
            let remedy = file_access::remedy(&error);
            findings.warn(
                Group::Files,
                "token file",
                format_args!(
                    "{shown} cannot be replaced, so each run renews the token anew: {error}"
                ),
                remedy.unwrap_or("make its folder writable"),
            );
        }
    }
}

/// Whether the state can be read and written, is this account's, and is in use. Returns the state.
pub(super) fn check_state(
    file: &Path,
    config: &Config,
    now: DateTime<Utc>,
    findings: &mut Findings<'_>,
) -> Option<State> {
    check_access(file, findings);
    check_lock(file, findings);
    let state = match observe(&mut FolderStorage::new(file), now) {
        Ok(Some(state)) => state,
        Ok(None) => {
            let days = config.first_run_days;
            let found = format!(
                "there is none yet: the next run is the first, and copies the mail of the last {days} \
                 days"
            );
            findings.ok(Group::State, "content", found);
            return None;
        }
        // The next run goes on without it.
        Err(error) if error.is_retryable() => {
            let remedy = error.remedy_text().unwrap_or("none is needed");
            findings.warn(Group::State, "content", error.without_remedy(), remedy);
            return None;
        }
        Err(error) => {
            findings.fail(Group::State, "content", &error);
            return None;
        }
    };
    check_owner(&state, file, config, now, findings);
    Some(state)
}

fn check_access(file: &Path, findings: &mut Findings<'_>) {
    let files = storage::files(file);
    let checked = files.iter().try_for_each(|path| {
        file_access::check_writable(path).map_err(|error| (path, error))?;
        file_access::check_folder(path).map_err(|error| (path, error))
    });
    match checked {
        Ok(()) => {
            let shown = Untrusted::path(file);
            let found = format_args!("{shown} and its folder can be written");
            findings.ok(Group::State, "access", found);
        }
        Err((path, error)) => {
            let remedy = file_access::remedy(&error);
            let place = Untrusted::path(path);
            let error = Error::new(Side::State, ErrorKind::Disk, place, &error)
                .during("examining the state")
                .remedy(remedy.unwrap_or("the folder of the state must be writable"));
            findings.fail(Group::State, "access", &error);
        }
    }
}

fn check_lock(file: &Path, findings: &mut Findings<'_>) {
    match lock::lock_holder(file) {
        LockHolder::Nobody => findings.ok(Group::State, "lock", "no run is active"),
        LockHolder::Process(pid) => findings.ok(
            Group::State,
            "lock",
            format_args!(
                "process {pid} is running this account; this check uses one more connection at each \
                 server"
            ),
        ),
        LockHolder::Unknown => {}
    }
}

fn check_owner(
    state: &State,
    file: &Path,
    config: &Config,
    now: DateTime<Utc>,
    findings: &mut Findings<'_>,
) {
    let configured = account_names(config);
    let other = state.account.as_ref();
    let other = other.filter(|names| !names.is_same(&configured) && state.is_bound_to_account());
    if let Some(other) = other {
        let what = format_args!(
            "this state is for {}, and the configuration names {}",
            describe(other),
            describe(&configured)
        );
        let error = Error::in_file(Side::State, file, what).remedy(
            "give each account its own --state-file; or, if these are new names of the same account, \
             add --same-account to one run",
        );
        findings.fail(Group::State, "content", &error);
        return;
    }
    let last = lock::last_complete_pass(file).ok().flatten();
    let last = last.map(DateTime::from).or(state.last_sync());
    let last = last.map_or("no pass has been complete yet".to_owned(), |last| {
        format!("the last complete pass was {}", describe_age(now - last))
    });
    let found = format!("of this account; {last}");
    findings.ok(Group::State, "content", found);
    check_messages(state, now, findings);
}

fn check_messages(state: &State, now: DateTime<Utc>, findings: &mut Findings<'_>) {
    let window = StatusLimits::DEFAULT.refused_within;
    let folders = || state.folders().map(|(_, folder)| folder);
    let refused = folders().flat_map(|folder| folder.refused.values());
    let is_recent = |when: DateTime<Utc>| now.signed_duration_since(when) <= window;
    let recent = refused.filter(|refused| is_recent(refused.when)).count();
    let (parked, older, days) = (
        folders().map(|folder| folder.parked.len()).sum::<usize>(),
        folders().map(|folder| folder.refused.len()).sum::<usize>() - recent,
        window.num_days(),
    );
    if parked + recent > 0 {
        findings.warn(
            Group::State,
            "messages",
            format_args!("{parked} parked, {recent} refused within {days} days"),
            "see status, which says which and why",
        );
    } else if older > 0 {
        let found = format_args!("{older} refused, more than {days} days ago");
        findings.ok(Group::State, "messages", found);
    }
    let owed = state.owed_labels();
    if let Some(since) = owed.values().map(|owed| owed.at).min() {
        let (count, since) = (owed.len(), format_time(since));
        findings.warn(
            Group::State,
            "labels",
            format_args!("messages that still get their labels: {count}, since {since}"),
            "none is needed: the next run sets them",
        );
    }
}
