//! A command that prints a password.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::password::first_line;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::timeouts::PASSWORD_OUTPUT_TIMEOUT;
use crate::untrusted::Untrusted;

/// As much of each output as is kept; the rest is read and dropped.
const KEPT: usize = 16 << 10;

/// Runs the command by `sh -c`, without input, and gives its first output line.
pub(crate) fn first_output_line(command: &str, limit: Duration) -> Result<Vec<u8>> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| wrong(format_args!("cannot be run: {error}")))?;
    let output = CollectedOutput::from(child.stdout.take());
    let complaint = CollectedOutput::from(child.stderr.take());
    let group = Pid::from_child(&child);
    let failure = match wait(child).recv_timeout(limit) {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(format!("failed ({status})")),
        Ok(Err(error)) => Some(format!("cannot be waited for: {error}")),
        Err(_) => {
            if let Err(error) = kill_process_group(group, Signal::KILL) {
                log::debug!("source_pass_command cannot be killed: {error}");
            }
            Some(format!("did not end within {} s", limit.as_secs()))
        }
    };
    let line = output.octets();
    if let Some(failure) = failure {
        return Err(complained(failure, &complaint.octets()));
    }
    if line.is_empty() {
        return Err(complained("prints nothing".to_owned(), &complaint.octets()));
    }
    first_line(line.as_slice()).map_err(wrong)
}

/// Tells when the command has ended.
fn wait(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (ended, end) = channel();
    // Nobody listens any longer when the command took too long.
    thread::spawn(move || ended.send(child.wait()).ok());
    end
}

/// What comes out of a pipe, read in the background, so that the command never waits for us.
struct CollectedOutput {
    kept: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl CollectedOutput {
    fn from(pipe: Option<impl Read + Send + 'static>) -> CollectedOutput {
        let (reading, end) = channel::<()>();
        let kept = Arc::default();
        let filled = Arc::clone(&kept);
        if let Some(pipe) = pipe {
            thread::spawn(move || {
                collect(pipe, &filled);
                drop(reading);
            });
        }
        CollectedOutput { kept, end }
    }

    /// All of it, or what came until the grace is over.
    fn octets(&self) -> Vec<u8> {
        // Nothing is ever sent: the end of the sender is the end of the output.
        let _ = self.end.recv_timeout(PASSWORD_OUTPUT_TIMEOUT);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}

fn collect(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 4096];
    loop {
        let count = match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.len()).min(count);
        kept.extend(chunk.iter().take(room));
    }
}

fn complained(failure: String, complaint: &[u8]) -> Error {
    match complaint.trim_ascii() {
        [] => wrong(failure),
        complaint => wrong(format_args!("{failure}: {:?}", Untrusted::new(complaint))),
    }
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::new(Side::Config, ErrorKind::Config, "source_pass_command", what)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use super::*;

    /// Long enough for a busy machine; only failures wait for it.
    const PATIENT: Duration = Duration::from_secs(20);

    fn line(command: &str) -> String {
        String::from_utf8(first_output_line(command, PATIENT).unwrap()).unwrap()
    }

    fn told(command: &str, limit: Duration) -> String {
        let error = first_output_line(command, limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn the_first_output_line_is_the_password() {
        assert_eq!(line("echo s3cret"), "s3cret");
        assert_eq!(line("printf 's3cret\\r\\nsecond\\n'"), "s3cret");
        assert_eq!(line("printf ' s3 cret'; echo noise >&2"), " s3 cret");
        assert_eq!(line("echo s3cret; cat"), "s3cret");
    }

    #[test]
    fn output_without_end_is_read_and_dropped() {
        assert_eq!(line("echo s3cret; head -c 1000000 /dev/zero"), "s3cret");
        assert_eq!(
            told("head -c 1000000 /dev/zero", PATIENT),
            "source_pass_command: its first line is too long for a password"
        );
    }

    #[test]
    fn what_a_failing_command_complains_of_is_shown_in_one_line() {
        assert_eq!(
            told("echo s3cret; echo 'no key\n\u{1b}[2J' >&2; exit 3", PATIENT),
            "source_pass_command: failed (exit status: 3): \"no key\\n\\u{1b}[2J\""
        );
        assert_eq!(
            told("exit 1", PATIENT),
            "source_pass_command: failed (exit status: 1)"
        );
        assert_eq!(
            told("echo locked >&2", PATIENT),
            "source_pass_command: prints nothing: \"locked\""
        );
        let long = told("head -c 100000 /dev/zero | tr '\\0' x >&2; false", PATIENT);
        assert!(long.len() < 1000, "{long}");
    }

    #[test]
    fn what_the_command_leaves_running_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(line("sleep 60 & printf s3cret"), "s3cret");
        assert!(begun.elapsed() < PATIENT);
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let command = format!(
            "sleep 61 & echo $! >{0}; echo $$ >>{0}; echo waiting >&2; wait",
            pids.display()
        );
        assert_eq!(
            told(&command, Duration::from_secs(2)),
            "source_pass_command: did not end within 2 s: \"waiting\""
        );
        let deadline = Instant::now() + PATIENT;
        let pids = fs::read_to_string(pids).unwrap();
        assert_eq!(pids.lines().count(), 2);
        while pids.lines().any(is_alive) {
            assert!(Instant::now() < deadline, "{pids} live on");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A killed process whose parent has not looked yet is dead, too.
    fn is_alive(pid: &str) -> bool {
        fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }
}
