//! The program while it watches: what it says, as it says it, and the signals that it gets.

// Each test uses its own part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Home, Ran};

/// Nothing that a test waits for takes so long, unless it is broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that watches; it is killed when this is dropped.
pub struct Watching {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Watching {
    /// Starts the program in its folder with `--watch`.
    pub fn start(home: &Home) -> Watching {
        Watching::start_with(home, &[])
    }

    pub fn start_with(home: &Home, options: &[&str]) -> Watching {
        let mut command = home.command();
        command.arg("--watch").args(options);
        Watching::of(command)
    }

    pub fn of(mut command: Command) -> Watching {
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

    /// What it said so far.
    pub fn said(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// How often it said this so far.
    pub fn count(&self, part: &str) -> usize {
        self.said().matches(part).count()
    }

    /// Waits until it says this.
    pub fn wait_for(&self, part: &str) {
        self.wait_for_many(part, 1);
    }

    /// Waits until it has said this so often.
    pub fn wait_for_many(&self, part: &str, times: usize) {
        self.wait_until(part, || self.count(part) >= times);
    }

    /// Waits until this is so.
    pub fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(
                Instant::now() < deadline,
                "{what:?} does not come:\n{}\n{}",
                self.said(),
                self.stderr.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, and says how it ended.
    pub fn ends(mut self) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.said()
            );
            thread::sleep(Duration::from_millis(5));
        };
        // What it said last may be on its way yet.
        let owners = || Arc::strong_count(&self.stdout) + Arc::strong_count(&self.stderr);
        while owners() > 2 {
            thread::sleep(Duration::from_millis(1));
        }
        Ran {
            status: status.code(),
            stdout: self.said(),
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }

    /// Asks it to end, demands that it does within the five seconds that are promised, and well.
    pub fn end(self) -> Ran {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let ran = self.ends();
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{ran:?}");
        // It came to its end itself: nothing had to end it at the last moment.
        assert!(ran.stdout.contains("ended by a signal"), "{ran:?}");
        ran
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
