//! What the units say.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::json;

use crate::program::{Home, Run, program};
use crate::unit_file::{UnitFile, documented_drop_in, units};

const TIMER: &str = "imap-to-gmail-sync@.timer";
const RUN: &str = "imap-to-gmail-sync@.service";
const WATCHER: &str = "imap-to-gmail-sync-watch@.service";
const STATUS: &str = "imap-to-gmail-sync-status@.service";
const ALERT: &str = "imap-to-gmail-sync-alert@.service";
const WELL: &str = "imap-to-gmail-sync-well@.service";

#[test]
fn all_services_of_an_account_are_one_user_with_one_folder_and_its_own_credentials() {
    for (setting, value) in [
        ("DynamicUser", &["yes"][..]),
        ("User", &["gmail-%i"]),
        ("StateDirectory", &["imap-to-gmail-sync/%i"]),
        ("StateDirectoryMode", &["0700"]),
        ("WorkingDirectory", &["%S/imap-to-gmail-sync/%i"]),
        (
            "LoadCredential",
            &[
                "config.json:/etc/imap-to-gmail-sync/%i.json",
                "%i.password:/etc/imap-to-gmail-sync/%i.password",
            ],
        ),
        ("LimitCORE", &["0"]),
        ("UMask", &["0077"]),
        ("SystemCallErrorNumber", &["EPERM"]),
    ] {
        for name in [RUN, WATCHER, STATUS, ALERT, WELL] {
            if (name, setting) == (WELL, "LoadCredential") {
                continue;
            }
            let unit = UnitFile::read(name);
            assert_eq!(unit.words(setting), value, "{setting} of {name}");
        }
    }
}

#[test]
fn status_and_notices_reach_no_network() {
    for name in [STATUS, ALERT, WELL] {
        assert_eq!(UnitFile::read(name).value("PrivateNetwork"), "yes");
    }
}

/// systemd stops one side before it starts the other only if there is an order between them.
#[test]
fn the_watcher_and_the_timer_with_its_runs_stop_each_other_in_order() {
    for (folder, instances) in [("", &["@"][..]), ("user/", &["@", ""])] {
        for instance in instances {
            let name = |name: &str| format!("{folder}{}", name.replace('@', instance));
            let referred = |name: &str| match *instance {
                "@" => name.replace('@', "@%i"),
                _ => name.replace('@', ""),
            };
            let watcher = UnitFile::read(&name(WATCHER));
            for other in [TIMER, RUN] {
                let unit = UnitFile::read(&name(other));
                assert_eq!(unit.words("Conflicts"), [referred(WATCHER)], "{unit:?}");
                for setting in ["Conflicts", "After"] {
                    let units = watcher.words(setting);
                    assert!(
                        units.contains(&referred(other).as_str()),
                        "{setting} {other}: {units:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_start_of_no_service_waits_without_end() {
    for unit in units("").into_iter().chain(units("user/")) {
        if unit.path.ends_with(".service") {
            assert_ne!(unit.value("TimeoutStartSec"), "infinity", "{}", unit.path);
        }
    }
}

/// systemd looks a bare name up in `/usr/local/bin` and `/usr/bin`: packages and installations by hand use
/// the same units.
#[test]
fn no_unit_says_where_the_program_is() {
    for unit in units("").into_iter().chain(units("user/")) {
        for line in unit.values("ExecStart") {
            assert!(
                line.starts_with("imap-to-gmail-sync ")
                    || line.starts_with("-imap-to-gmail-sync ")
                    || line.starts_with("echo ")
                    || line.starts_with("sh -c 'imap-to-gmail-sync status "),
                "{}: {line}",
                unit.path
            );
            assert!(!line.contains("bin/"), "{}: {line}", unit.path);
        }
    }
}

/// A setting that only the system's manager can apply makes the start of a user's service fail, or needs a user
/// namespace.
#[test]
fn the_units_of_users_have_only_settings_that_a_user_may_apply() {
    let allowed: BTreeSet<&str> = [
        "After",
        "AccuracySec",
        "ConditionPathExists",
        "Conflicts",
        "Description",
        "Documentation",
        "ExecReload",
        "ExecSearchPath",
        "ExecStart",
        "ExecStartPost",
        "ExecStartPre",
        "LimitCORE",
        "LockPersonality",
        "LogLevelMax",
        "NoNewPrivileges",
        "OnActiveSec",
        "OnFailure",
        "OnSuccess",
        "OnUnitInactiveSec",
        "RandomizedDelaySec",
        "Restart",
        "RestartPreventExitStatus",
        "RestartSec",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "RuntimeDirectory",
        "RuntimeDirectoryMode",
        "RuntimeDirectoryPreserve",
        "StandardOutput",
        "StartLimitIntervalSec",
        "SuccessExitStatus",
        "SyslogIdentifier",
        "SyslogLevel",
        "SystemCallArchitectures",
        "SystemCallErrorNumber",
        "SystemCallFilter",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "Type",
        "UMask",
        "WantedBy",
        "WatchdogSec",
    ]
    .into();
    for unit in units("user/") {
        let lines = unit.text.lines().filter(|line| !line.starts_with('#'));
        for (setting, _) in lines.filter_map(|line| line.split_once('=')) {
            assert!(allowed.contains(setting), "{setting} in {}", unit.path);
        }
    }
}

#[test]
fn the_mail_in_the_documentation_is_the_one_in_the_unit() {
    let drop_in = "imap-to-gmail-sync-alert@.service.d/mail.conf";
    let documented = documented_drop_in(&format!("/etc/systemd/system/{drop_in}"));
    let alert = UnitFile::read(ALERT);
    let lines = alert.text.lines();
    let comment: Vec<&str> = lines.filter_map(|line| line.strip_prefix("#   ")).collect();
    let documented: Vec<&str> = documented.lines().collect();
    assert_eq!(comment, documented);
}

#[test]
fn a_configuration_for_the_units_also_finds_its_password_by_hand() {
    let home = Home::new();
    fs::create_dir(home.path("etc")).unwrap();
    home.configure(&json!({ "source_pass": null, "source_pass_file": "alice.password" }));
    for (from, to) in [
        ("config.json", "etc/alice.json"),
        ("config.json", "etc/config.json"),
    ] {
        fs::copy(home.path(from), home.path(to)).unwrap();
    }
    home.write("etc/alice.password", "secret");
    let run = |config: &str, credentials: Option<&str>| -> Run {
        let mut command = program(&home.path("."));
        command.args(["--config", config]);
        if let Some(folder) = credentials {
            command.env("CREDENTIALS_DIRECTORY", home.path(folder));
        }
        command.output().unwrap().into()
    };
    for run in [
        run("etc/alice.json", None),
        // As the units do: under a fixed name, among the credentials.
        run("etc/config.json", Some("etc")),
    ] {
        assert_eq!(run.status, Some(0), "{run:?}");
    }
}

/// The units as systemd finds them, with a program that exists; and its warnings about them.
fn warnings(manager: &str, units: &[UnitFile]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify
        .args([manager, "verify", "--man=no"])
        .current_dir(&folder);
    for unit in units {
        let name = unit.path.rsplit('/').next().unwrap();
        // `verify` requires that the programs of a unit exist.
        let text = unit.text.replace("=-imap-to-gmail-sync ", "=-true ");
        let text = text.replace("=imap-to-gmail-sync ", "=true ");
        // An instance, so that specifiers are expanded.
        let name = name.replace('@', "@alice");
        fs::write(folder.path().join(&name), text).unwrap();
        verify.arg(format!("./{name}"));
    }
    let output = verify.output().expect("systemd-analyze runs");
    // It also prints warnings about other units of the machine.
    let warnings = String::from_utf8_lossy(&output.stderr);
    let ours = |line: &&str| line.contains("imap-to-gmail-sync");
    warnings.lines().find(ours).map(str::to_owned)
}

#[test]
fn systemd_finds_no_mistake_in_the_units() {
    assert_eq!(warnings("--system", &units("")), None);
    assert_eq!(warnings("--user", &units("user/")), None);
    let mut wrong = UnitFile::read(RUN);
    wrong.text = wrong
        .text
        .replace("[Service]", "[Service]\nNoSuchSetting=1");
    assert!(warnings("--system", &[wrong]).is_some());
}

#[test]
fn the_system_units_are_exposed_by_1_5_at_most() {
    let exposure = |unit: &UnitFile| -> f64 {
        let folder = tempfile::tempdir().unwrap();
        let name = unit.path.replace('@', "@alice");
        fs::write(folder.path().join(&name), &unit.text).unwrap();
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(folder.path().join(&name))
            .output()
            .expect("systemd-analyze runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.lines().last().and_then(|line| line.split_once(": "));
        let number = words.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no number: {text} {output:?}"))
    };
    for name in [RUN, WATCHER, STATUS, ALERT, WELL] {
        let exposure = exposure(&UnitFile::read(name));
        assert!(exposure <= 1.5, "{name}: {exposure}");
    }
    let mut weak = UnitFile::read(RUN);
    weak.text = weak.text.replace("CapabilityBoundingSet=", "");
    assert!(exposure(&weak) > 1.5);
}
