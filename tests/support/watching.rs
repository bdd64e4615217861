//! The resident program as a child process: its output line by line, and its signals.
#![allow(dead_code, reason = "each suite uses a part")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Home, Run};

/// Only a test that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The program with `--watch`; dropping kills it.
pub struct Watching {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Watching {
    pub fn start(home: &Home) -> Watching {
        Watching::start_with(home, &[])
    }

    pub fn start_with(home: &Home, options: &[&str]) -> Watching {
        let mut command = home.command();
        command.arg("--watch").args(options);
        Watching::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Watching {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Watching {
            stdout: collect(child.stdout.take().unwrap()),
            stderr: collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its standard output so far: the log.
    pub fn output(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// How often `part` stands in its output so far.
    pub fn count(&self, part: &str) -> usize {
        self.output().matches(part).count()
    }

    /// Waits until its output contains `part`.
    pub fn wait_for(&self, part: &str) {
        self.wait_until(part, || self.count(part) > 0);
    }

    /// Waits until `condition` holds; `what` names it in the failure.
    pub fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "{what:?} does not happen:\n{}\n{}",
                self.output(),
                self.stderr.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has exited.
    pub fn wait_for_exit(mut self) -> Run {
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not exit:\n{}",
                self.output()
            );
            thread::sleep(Duration::from_millis(5));
        };
        // The collecting threads drop their share when they have read everything.
        let owners = || Arc::strong_count(&self.stdout) + Arc::strong_count(&self.stderr);
        while owners() > 2 {
            thread::sleep(Duration::from_millis(1));
        }
        Run {
            status: status.code(),
            stdout: self.output(),
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }

    /// Sends SIGTERM, and asserts that it exits with 0 within the five seconds that are promised.
    pub fn terminate(self) -> Run {
        let signalled = Instant::now();
        self.signal(Signal::TERM);
        let run = self.wait_for_exit();
        assert_eq!(run.status, Some(0), "{run:?}");
        assert!(signalled.elapsed() < Duration::from_secs(5), "{run:?}");
        // Only an orderly exit logs this; a forced one does not.
        assert!(run.stdout.contains("ended by a signal"), "{run:?}");
        run
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let collected = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&collected);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
            into.lock().unwrap().push_str(&line);
            line.clear();
        }
    });
    collected
}

pub fn message(number: usize) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

pub fn deliver(home: &Home, number: usize) {
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&message(number), now, &[]);
}

/// How many messages Gmail has in its inbox.
pub fn arrived(home: &Home) -> usize {
    home.gmail.messages("INBOX").len()
}

/// Delivers these messages one after the other, each when the one before has arrived at Gmail.
pub fn deliver_and_wait(home: &Home, watching: &Watching, numbers: std::ops::Range<usize>) {
    for number in numbers {
        deliver(home, number);
        let what = format!("message {number}");
        watching.wait_until(&what, || arrived(home) > number);
    }
}

pub fn assert_each_arrived_once(home: &Home, count: usize) {
    let delivered = home.delivered();
    assert_eq!(delivered.len(), count);
    assert!(delivered.values().all(|copies| copies.len() == 1));
}
