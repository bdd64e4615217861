//! The units of the system under a real systemd.

use serde_json::json;

use crate::machine::{Image, Machine};
use crate::program::Home;
use crate::unit_file::documented_drop_in;
use crate::watching::{arrived, assert_each_arrived_once, deliver};

const PACKAGED: &str = "/usr/bin/imap-to-gmail-sync";
const BY_HAND: &str = "/usr/local/bin/imap-to-gmail-sync";

const RUN: &str = "imap-to-gmail-sync@alice.service";
const TIMER: &str = "imap-to-gmail-sync@alice.timer";
const WATCHER: &str = "imap-to-gmail-sync-watch@alice.service";
const STATUS: &str = "imap-to-gmail-sync-status@alice.service";
const LOCK: &str = "/var/lib/imap-to-gmail-sync/alice/sync_state.json.lock";

/// A timer that a test can wait for.
const FAST_TIMER: &str = "[Timer]\nOnBootSec=\nOnBootSec=1s\nOnUnitInactiveSec=500ms\n\
                          AccuracySec=1ms\nRandomizedDelaySec=0\n";

/// A home whose configuration is as the units need it.
fn home() -> Home {
    let home = Home::new();
    home.configure(&json!({ "source_pass": null, "source_pass_file": "alice.password" }));
    home
}

fn image(home: &Home) -> Image {
    let image = Image::new();
    image.add_account(home, "alice");
    image
}

fn drop_in(image: &Image, unit: &str, text: &str) {
    let path = format!("etc/systemd/system/{unit}.d/test.conf");
    image.write(&path, text, 0o644);
}

/// Makes the last success old.
fn make_stale(machine: &Machine) {
    machine.run_ok(&["touch", "--date=2 hours ago", LOCK]);
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn the_timer_copies_mail_and_its_starts_leave_no_line_in_the_journal() {
    let home = home();
    let image = image(&home);
    drop_in(&image, "imap-to-gmail-sync@.timer", FAST_TIMER);
    let machine = image.boot(PACKAGED);
    deliver(&home, 0);
    machine.run_ok(&["systemctl", "enable", "--now", TIMER]);
    machine.wait_until("the first message", || arrived(&home) == 1);
    let runs = home.source.connections();
    machine.wait_until("two runs", || home.source.connections() > runs + 2);
    deliver(&home, 1);
    machine.wait_until("the second message", || arrived(&home) == 2);
    machine.run_ok(&["systemctl", "stop", TIMER, RUN]);
    assert_each_arrived_once(&home, 2);

    let journal = machine.journal();
    let lines = journal
        .iter()
        .filter(|line| line.identifier == "imap-to-gmail-sync");
    let lines: Vec<&str> = lines
        .inspect(|line| assert_eq!(line.priority, "5", "{line:?}"))
        .map(|line| line.message.as_str())
        .collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[1].starts_with("copied <0@x> "), "{lines:#?}");
    assert!(lines[3].starts_with("copied <1@x> "), "{lines:#?}");
    let about_runs = journal
        .iter()
        .filter(|line| line.message.contains("alice.service"));
    assert_eq!(about_runs.count(), 0, "{journal:#?}");

    // By hand, as root.
    let configs = "/etc/imap-to-gmail-sync";
    let status = machine.run_ok(&[PACKAGED, "status", "--config", configs]);
    assert!(status.starts_with("alice"), "{status}");
    let dry_run = format!(
        "cd /var/lib/imap-to-gmail-sync/alice && {PACKAGED} --config {configs}/alice.json --dry-run"
    );
    machine.run_ok(&["sh", "-c", &dry_run]);

    // Each account is a user of its own.
    let state = "/var/lib/private/imap-to-gmail-sync/alice";
    let listed = machine.run_ok(&[
        "stat",
        "--format=%a %u",
        state,
        &format!("{state}/sync_state.json"),
        &format!("{state}/token.json"),
    ]);
    let listed: Vec<(&str, u32)> = listed
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(mode, user)| (mode, user.parse().unwrap()))
        .collect();
    let modes: Vec<&str> = listed.iter().map(|(mode, _)| *mode).collect();
    assert_eq!(modes, ["700", "600", "600"]);
    // systemd takes dynamic users from this range.
    assert!(
        listed
            .iter()
            .all(|(_, user)| (61184..=65519).contains(user))
    );
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn an_outage_is_one_notice_at_its_beginning_and_one_at_its_end() {
    let mut home = home();
    let image = image(&home);
    image.edit("imap-to-gmail-sync-status@.service", "sleep 120", "sleep 0");
    for unit in ["alert", "well"] {
        let mail = format!("/etc/systemd/system/imap-to-gmail-sync-{unit}@.service.d/mail.conf");
        image.write(&mail, &documented_drop_in(&mail), 0o644);
    }
    let sendmail = "#!/bin/sh\ncat >>/var/mails\n";
    image.write("usr/local/sbin/sendmail", sendmail, 0o755);
    let machine = image.boot(BY_HAND);
    let start = |unit| machine.run(&["systemctl", "start", unit]).status;

    assert_eq!(start(RUN), Some(0));
    assert_eq!(start(STATUS), Some(0));
    machine.run_ok(&["touch", "/var/mails"]);
    let mails = || machine.run_ok(&["cat", "/var/mails"]);
    // Nothing waits for the services that a check starts.
    let check = |expected| {
        assert_eq!(start(STATUS), Some(expected));
        machine.wait_until("the end of all jobs", || {
            machine
                .run_ok(&["systemctl", "list-jobs", "--no-legend"])
                .is_empty()
        });
    };

    for outage in 1..=2 {
        home.source.stop();
        for _ in 0..3 {
            assert_eq!(start(RUN), Some(0), "the next run tries again");
        }
        make_stale(&machine);
        for _ in 0..3 {
            check(1);
        }
        assert_eq!(machine.property(STATUS, "ActiveState"), "failed");
        assert_eq!(machine.count("NOT WELL"), outage);
        assert_eq!(machine.count("copied to Gmail again"), outage - 1);
        // The second outage is within the hour.
        let journal = machine.journal();
        let errors = journal.iter().filter(|line| line.priority == "3");
        assert_eq!(errors.count(), 1, "{journal:#?}");

        home.source.restart();
        assert_eq!(start(RUN), Some(0));
        for _ in 0..3 {
            check(0);
        }
        assert_eq!(machine.count("NOT WELL"), outage);
        assert_eq!(machine.count("copied to Gmail again"), outage);
        let mails = mails();
        let subjects = mails.lines().filter(|line| line.starts_with("Subject: "));
        let subjects: Vec<&str> = subjects.collect();
        let expected = [
            "Subject: Mail of alice is not copied to Gmail",
            "Subject: Mail of alice is copied to Gmail again",
        ];
        assert_eq!(subjects, expected.repeat(outage), "{mails}");
        assert_eq!(mails.matches("NOT WELL").count(), outage, "{mails}");
    }
    // The checks themselves log nothing.
    let journal = machine.journal();
    let checks = journal
        .iter()
        .filter(|line| line.message.contains("-status@"));
    assert_eq!(checks.count(), 0, "{journal:#?}");
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn the_watcher_is_ready_and_replaces_the_timer_and_is_restarted_when_it_hangs() {
    let home = home();
    let image = image(&home);
    drop_in(&image, "imap-to-gmail-sync@.timer", FAST_TIMER);
    let fast = "[Service]\nWatchdogSec=3s\nTimeoutStopSec=2s\nRestartSec=100ms\n";
    drop_in(&image, "imap-to-gmail-sync-watch@.service", fast);
    let machine = image.boot(PACKAGED);
    machine.run_ok(&["systemctl", "enable", "--now", WATCHER]);
    deliver(&home, 0);
    machine.wait_until("the message", || arrived(&home) == 1);
    let text = || machine.property(WATCHER, "StatusText");
    machine.wait_until("its status", || {
        text() == "watching INBOX; 1 copied since the start"
    });

    // A process that is stopped pings no watchdog.
    machine.run_ok(&[
        "systemctl",
        "kill",
        "--kill-who=main",
        "--signal=STOP",
        WATCHER,
    ]);
    machine.wait_until("the restart", || {
        machine.property(WATCHER, "NRestarts") == "1"
    });
    machine.wait_until("its start", || machine.is_active(WATCHER));
    deliver(&home, 1);
    machine.wait_until("the second message", || arrived(&home) == 2);

    machine.run_ok(&["systemctl", "start", TIMER]);
    assert!(!machine.is_active(WATCHER));
    assert_eq!(machine.property(WATCHER, "Result"), "success");
    machine.run_ok(&["systemctl", "start", WATCHER]);
    assert!(machine.is_active(WATCHER) && !machine.is_active(TIMER));
    assert_each_arrived_once(&home, 2);

    // A configuration that is wrong is not tried again.
    let config = "/etc/imap-to-gmail-sync/alice.json";
    machine.run_ok(&["sed", "-i", "s/source_server/no_server/", config]);
    assert_eq!(
        machine.run(&["systemctl", "restart", WATCHER]).status,
        Some(1)
    );
    assert_eq!(machine.property(WATCHER, "ActiveState"), "failed");
    assert_eq!(machine.property(WATCHER, "ExecMainStatus"), "78");
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn the_drop_ins_of_the_documentation_make_a_log_file_and_change_the_interval() {
    let home = home();
    let image = image(&home);
    let log = "/etc/systemd/system/imap-to-gmail-sync@.service.d/log.conf";
    image.write(log, &documented_drop_in(log), 0o644);
    let interval = "/etc/systemd/system/imap-to-gmail-sync@.timer.d/interval.conf";
    image.write(interval, &documented_drop_in(interval), 0o644);
    let machine = image.boot(BY_HAND);
    deliver(&home, 0);
    machine.run_ok(&["systemctl", "start", RUN]);
    let timers = machine.property(TIMER, "TimersMonotonic");
    for (timer, count) in [
        ("OnUnitInactiveUSec=", 1),
        ("OnUnitInactiveUSec=5min ", 1),
        ("OnBootUSec=1min ", 1),
    ] {
        assert_eq!(timers.matches(timer).count(), count, "{timers}");
    }
    let lines = machine.run_ok(&["cat", "/var/log/imap-to-gmail-sync/alice/sync.log"]);
    assert!(lines.contains("copied <0@x> "), "{lines}");
    assert_eq!(arrived(&home), 1);
}
