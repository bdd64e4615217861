//! A real rsyslogd with a socket and a file of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::host_sockets::HostSockets;

/// Only a test that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What is written of each record: an object a line.
const CONFIGURATION: &str = r#"
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="SOCKET")
template(name="record" type="list") {
    constant(value="{") property(outname="facility" name="syslogfacility-text" format="jsonf")
    constant(value=",") property(outname="level" name="syslogseverity-text" format="jsonf")
    constant(value=",") property(outname="program" name="programname" format="jsonf")
    constant(value=",") property(outname="pid" name="procid" format="jsonf")
    constant(value=",") property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    constant(value=",") property(outname="message" name="msg" format="jsonf")
    constant(value="}\n")
}
action(type="omfile" file="RECORDS" template="record")
"#;

/// A running rsyslogd; dropping kills it.
pub struct Rsyslog {
    child: Child,
    records: PathBuf,
}

/// A record as the daemon received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub facility: String,
    pub level: String,
    pub program: String,
    pub pid: String,
    pub time: String,
    pub message: String,
}

impl Rsyslog {
    /// Starts it on the socket that is `/dev/log` for the program.
    pub fn start(sockets: &HostSockets) -> Rsyslog {
        let (records, file) = (sockets.path("records"), sockets.path("rsyslog.conf"));
        let configuration = CONFIGURATION
            .replace("SOCKET", sockets.syslog().to_str().unwrap())
            .replace("RECORDS", records.to_str().unwrap());
        fs::write(&file, configuration).unwrap();
        // Under its own name, Ubuntu's AppArmor profile would forbid it to read this folder.
        let program = sockets.path("daemon");
        if !program.exists() {
            fs::copy("/usr/sbin/rsyslogd", &program).expect("these tests need rsyslog");
        }
        let mut command = Command::new(program);
        command.arg("-n").arg("-f").arg(&file);
        command.arg("-i").arg(sockets.path("rsyslog.pid"));
        let child = command.spawn().unwrap();
        let daemon = Rsyslog { child, records };
        let probe = std::os::unix::net::UnixDatagram::unbound().unwrap();
        daemon.wait_until("rsyslogd is ready", || {
            probe.connect(sockets.syslog()).is_ok()
        });
        daemon
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as a service manager does.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }

    /// The records of the program so far.
    pub fn records(&self) -> Vec<Record> {
        let text = fs::read_to_string(&self.records).unwrap_or_default();
        // The last line may be half written.
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let records = lines.map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            Record {
                facility: text("facility"),
                level: text("level"),
                program: text("program"),
                pid: text("pid"),
                time: text("time"),
                message: text("message").trim_start().to_owned(),
            }
        });
        let all: Vec<Record> = records.collect();
        all.into_iter()
            .filter(|record| !record.program.starts_with("rsyslog"))
            .collect()
    }

    /// The records that contain `part`.
    pub fn with(&self, part: &str) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.message.contains(part));
        records
    }

    /// Waits until a record contains `part`.
    pub fn wait_for(&self, part: &str) {
        self.wait_until(part, || !self.with(part).is_empty());
    }

    pub fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition() {
            let records = || self.records();
            assert!(Instant::now() < deadline, "no {what:?}: {:#?}", records());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
