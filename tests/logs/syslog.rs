//! `--log syslog` at a real daemon.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use serde_json::json;

use crate::host_sockets::HostSockets;
use crate::program::{Home, Run};
use crate::rsyslog::Rsyslog;
use crate::watching::{Watching, arrived, deliver, deliver_and_wait};

fn run(sockets: &HostSockets, home: &Home, options: &[&str]) -> Run {
    let mut command = home.command();
    command.args(["--log", "syslog"]).args(options);
    sockets.command(&command).output().unwrap().into()
}

fn watch(sockets: &HostSockets, home: &Home) -> Watching {
    let mut command = home.command();
    command.args(["--watch", "--log", "syslog"]);
    Watching::spawn(sockets.command(&command))
}

/// Ends it, and asserts that it printed nothing.
fn terminate(watching: Watching) {
    watching.signal(Signal::TERM);
    let run = watching.wait_for_exit();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn a_restarted_daemon_gets_each_later_line_once() {
    let (sockets, home) = (HostSockets::new(), Home::new());
    let mut daemon = Rsyslog::start(&sockets);
    let watching = watch(&sockets, &home);
    let pid = watching.pid().to_string();
    for restart in 0..3 {
        let numbers = restart * 3..restart * 3 + 3;
        deliver_and_wait(&home, &watching, numbers.clone());
        for number in numbers {
            daemon.wait_for(&format!("copied <{number}@x>"));
        }
        daemon.stop();
        daemon = Rsyslog::start(&sockets);
    }
    terminate(watching);
    daemon.wait_for("ended by a signal");
    for number in 0..9 {
        let copied = daemon.with(&format!("copied <{number}@x>"));
        assert_eq!(copied.len(), 1, "{copied:#?}");
    }
    for record in daemon.with("copied <") {
        assert_eq!(record.program, "imap-to-gmail-sync", "{record:?}");
        assert_eq!(record.facility, "mail", "{record:?}");
        assert_eq!(record.level, "info", "{record:?}");
        assert_eq!(record.pid, pid, "{record:?}");
        let time: chrono::DateTime<chrono::Utc> = record.time.parse().unwrap();
        let age = chrono::Utc::now() - time;
        assert!(age.num_minutes().abs() < 5, "{record:?}");
    }
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn the_daemon_is_told_how_many_lines_were_lost_while_it_was_down() {
    let (sockets, home) = (HostSockets::new(), Home::new());
    let daemon = Rsyslog::start(&sockets);
    let watching = watch(&sockets, &home);
    deliver_and_wait(&home, &watching, 0..1);
    daemon.wait_for("1 copied, ");
    daemon.stop();
    // The second one begins when the first one's pass has ended, with all its lines.
    deliver_and_wait(&home, &watching, 1..3);
    let daemon = Rsyslog::start(&sockets);
    deliver_and_wait(&home, &watching, 3..4);
    daemon.wait_for("copied <3@x>");
    let notes = daemon.with("could not be written: ");
    assert_eq!(notes.len(), 1, "{notes:#?}");
    assert_eq!(notes[0].level, "warning");
    assert!(notes[0].message.contains("log lines since "), "{notes:?}");
    assert_eq!(daemon.with("copied <1@x>"), []);
    terminate(watching);
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn a_daemon_that_hangs_stops_no_mail() {
    let (sockets, home) = (HostSockets::new(), Home::new());
    let daemon = Rsyslog::start(&sockets);
    let watching = watch(&sockets, &home);
    deliver_and_wait(&home, &watching, 0..1);
    daemon.wait_for("watching INBOX");
    let received = daemon.records().len();
    daemon.signal(Signal::STOP);
    // More than its socket can hold.
    let max: usize = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let sent = max + 20;
    (1..sent).for_each(|number| deliver(&home, number));
    watching.wait_until("all messages arrive", || arrived(&home) == sent);
    daemon.signal(Signal::CONT);
    daemon.wait_until("the waiting lines", || {
        daemon.records().len() >= received + max
    });
    deliver_and_wait(&home, &watching, sent..sent + 1);
    daemon.wait_for(&format!("copied <{sent}@x>"));
    let notes = daemon.with("could not be written: the syslog daemon does not read");
    assert_eq!(notes.len(), 1, "{notes:#?}");
    for number in 0..=sent {
        let copied = daemon.with(&format!("copied <{number}@x>"));
        assert!(copied.len() <= 1, "{copied:#?}");
    }
    terminate(watching);
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn the_daemon_sees_the_level_of_each_line() {
    let (sockets, home) = (HostSockets::new(), Home::new());
    let daemon = Rsyslog::start(&sockets);
    deliver(&home, 0);
    assert_eq!(run(&sockets, &home, &["--debug"]).status, Some(0));
    home.configure(&json!({ "source_pass": "wrong" }));
    let failed = run(&sockets, &home, &["--log-format", "json"]);
    assert_eq!(failed.status, Some(77), "{failed:?}");
    let error = failed.stderr.trim_end();
    daemon.wait_for("\"level\":\"error\"");
    let level = |part: &str| {
        let records = daemon.with(part);
        assert_eq!(records.len(), 1, "{part}: {records:#?}");
        records[0].level.clone()
    };
    assert_eq!(level("copied <0@x>"), "info");
    assert_eq!(level("EXAMINE \"INBOX\""), "debug");
    let line = daemon.with("\"level\":\"error\"").remove(0);
    assert_eq!(line.level, "err");
    let object: serde_json::Value = serde_json::from_str(&line.message).unwrap();
    assert_eq!(object["message"], error);
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn without_a_daemon_there_is_an_error_and_no_connection() {
    let (sockets, home) = (HostSockets::new(), Home::new());
    deliver(&home, 0);
    let assert_fails = |what: &str| {
        let line = format!(
            "syslog: opening the log: {what}; start a syslog daemon, or use --log stderr or --log FILE\n"
        );
        for options in [&[][..], &["--watch"], &["--dry-run"]] {
            let run = run(&sockets, &home, options);
            assert_eq!(run.status, Some(74), "{run:?}");
            assert_eq!((run.stdout.as_str(), &run.stderr), ("", &line));
        }
        assert_eq!(home.source.connections(), 0);
        assert_eq!(home.gmail.connections(), 0);
    };
    assert_fails("there is no socket; searched: /dev/log, /var/run/syslog, /var/run/log");
    // The socket of a daemon that is gone.
    drop(UnixDatagram::bind(sockets.syslog()).unwrap());
    assert_fails("/dev/log: Connection refused (os error 111)");
}
