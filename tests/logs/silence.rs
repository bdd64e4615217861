//! What cron would send by mail: a run that logs elsewhere prints nothing.

use std::fs;

use crate::host_sockets::HostSockets;
use crate::program::{Home, Run};
use crate::rsyslog::Rsyslog;
use crate::watching::{arrived, deliver};

const FORMS: [&[&str]; 4] = [
    &[],
    &["--debug"],
    &["--log-format", "json"],
    &["--log-format", "json", "--debug"],
];

fn assert_silent(run: &Run, what: &[&str]) {
    assert_eq!(run.status, Some(0), "{what:?}: {run:?}");
    let printed = (run.stdout.as_str(), run.stderr.as_str());
    assert_eq!(printed, ("", ""), "{what:?}");
}

#[test]
fn a_run_that_logs_to_a_file_prints_nothing() {
    let home = Home::new();
    for (number, form) in FORMS.iter().enumerate() {
        deliver(&home, number);
        let options = [&["--log", "sync.log"], *form].concat();
        assert_silent(&home.run_with(&options), form);
        assert_eq!(arrived(&home), number + 1);
        let log = fs::read_to_string(home.path("sync.log")).unwrap();
        let copied = format!("copied <{number}@x>");
        assert_eq!(log.matches(&copied).count(), 1, "{log}");
    }
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn a_run_that_logs_to_syslog_prints_nothing() {
    let (sockets, home) = (HostSockets::new(), Home::new());
    let daemon = Rsyslog::start(&sockets);
    for (number, form) in FORMS.iter().enumerate() {
        deliver(&home, number);
        let mut command = home.command();
        command.args(["--log", "syslog"]).args(*form);
        assert_silent(&sockets.command(&command).output().unwrap().into(), form);
        assert_eq!(arrived(&home), number + 1);
        daemon.wait_for(&format!("copied <{number}@x>"));
    }
}
