//! Runs the command that prints the password.

use std::io::{self, Read};
use std::iter;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::password::first_line;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::timeouts::PASSWORD_OUTPUT_TIMEOUT;
use crate::untrusted::Untrusted;

/// This much of each output is kept; the rest is read and dropped.
const MAX_OUTPUT_LENGTH: usize = 16 << 10;

/// Runs the command by `sh -c`, without input, and returns its first output line. After `limit` the
/// command is killed with all processes that it started in its process group.
pub(crate) fn first_output_line(command: &str, limit: Duration) -> Result<Vec<u8>> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| command_error(format_args!("cannot be run: {error}")))?;
    let output = collect(child.stdout.take());
    let error_output = collect(child.stderr.take());
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
    let line = collected(&output);
    let failure = failure.or_else(|| line.is_empty().then(|| "prints nothing".to_owned()));
    match failure {
        None => first_line(line.as_slice()).map_err(command_error),
        Some(failure) => Err(match first_error_line(&collected(&error_output)) {
            [] => command_error(failure),
            line => command_error(format_args!(
                "{failure}; its error output begins: {:?}",
                Untrusted::new(line)
            )),
        }),
    }
}

/// The first line that is not blank.
fn first_error_line(output: &[u8]) -> &[u8] {
    let mut lines = output
        .split(|octet| *octet == b'\n')
        .map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty()).unwrap_or_default()
}

/// Waits for the command in a thread; the receiver gets its exit status.
fn wait(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (sender, status) = channel();
    // The send fails if the command took too long and the receiver is gone.
    thread::spawn(move || sender.send(child.wait()).ok());
    status
}

/// Reads a pipe in a thread, so that the command never blocks on a full one. The receiver gets the
/// first [`MAX_OUTPUT_LENGTH`] octets, and is disconnected at the end of the output.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, chunks) = channel();
    thread::spawn(move || {
        let Some(mut pipe) = pipe else {
            return;
        };
        let mut chunk = [0; 4096];
        let mut room = MAX_OUTPUT_LENGTH;
        loop {
            let count = match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count.min(room),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if count > 0 {
                room -= count;
                // The send fails if nobody waits for the output any longer.
                let _ = sender.send(chunk.iter().take(count).copied().collect());
            }
        }
    });
    chunks
}

/// The whole output, or what was read within the time-out.
fn collected(chunks: &Receiver<Vec<u8>>) -> Vec<u8> {
    let deadline = Instant::now() + PASSWORD_OUTPUT_TIMEOUT;
    let left = || deadline.saturating_duration_since(Instant::now());
    let chunks = iter::from_fn(|| chunks.recv_timeout(left()).ok());
    chunks.flatten().collect()
}

fn command_error(what: impl std::fmt::Display) -> Error {
    Error::new(Side::Config, ErrorKind::Config, "source_pass_command", what)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Long enough for a busy machine; only failing tests wait for it.
    const LONG_LIMIT: Duration = Duration::from_secs(20);

    fn line(command: &str) -> String {
        String::from_utf8(first_output_line(command, LONG_LIMIT).unwrap()).unwrap()
    }

    fn error_line(command: &str, limit: Duration) -> String {
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
    fn excess_output_is_read_and_dropped() {
        assert_eq!(line("echo s3cret; head -c 1000000 /dev/zero"), "s3cret");
        assert_eq!(
            error_line("head -c 1000000 /dev/zero", LONG_LIMIT),
            "source_pass_command: its first line is too long for a password"
        );
    }

    #[test]
    fn the_error_output_of_a_failing_command_is_shown_in_one_line() {
        assert_eq!(
            error_line(
                "echo s3cret; echo 'no key\n\u{1b}[2J' >&2; exit 3",
                LONG_LIMIT
            ),
            "source_pass_command: failed (exit status: 3); its error output begins: \
             \"no key\""
        );
        assert_eq!(
            error_line("exit 1", LONG_LIMIT),
            "source_pass_command: failed (exit status: 1)"
        );
        assert_eq!(
            error_line("echo locked >&2", LONG_LIMIT),
            "source_pass_command: prints nothing; its error output begins: \"locked\""
        );
        let long = error_line(
            "head -c 100000 /dev/zero | tr '\\0' x >&2; false",
            LONG_LIMIT,
        );
        assert!(long.len() < 1000, "{long}");
    }

    #[test]
    fn a_process_that_the_command_leaves_running_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(line("sleep 60 & printf s3cret"), "s3cret");
        assert!(begun.elapsed() < LONG_LIMIT);
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_process_group() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let command = format!(
            "sleep 61 & echo $! >{0}; echo $$ >>{0}; echo waiting >&2; wait",
            pids.display()
        );
        assert_eq!(
            error_line(&command, Duration::from_secs(2)),
            "source_pass_command: did not end within 2 s; its error output begins: \
             \"waiting\""
        );
        let deadline = Instant::now() + LONG_LIMIT;
        let pids = fs::read_to_string(pids).unwrap();
        assert_eq!(pids.lines().count(), 2);
        while pids.lines().any(is_alive) {
            assert!(Instant::now() < deadline, "{pids} are still alive");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A zombie counts as dead.
    fn is_alive(pid: &str) -> bool {
        fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }
}
