//! A command that prints a password.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::first_line;
use crate::error::{Error, Kind, Result};
use crate::foreign::Foreign;

/// Time for a key store to be asked; nobody is there to type.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// How long output may be on its way when the command has ended: what it leaves running (an agent)
/// may hold the pipes open for ever.
const GRACE: Duration = Duration::from_millis(500);

/// As much of each output as is kept; the rest is read and dropped.
const KEPT: usize = 16 << 10;

/// Runs the command by `sh -c`, without input, and gives its first output line.
pub(super) fn first_output_line(command: &str, limit: Duration) -> Result<Vec<u8>> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| wrong(format_args!("cannot be run: {error}")))?;
    let output = Collected::from(child.stdout.take());
    let complaint = Collected::from(child.stderr.take());
    let group = child.id();
    let failure = match wait(child).recv_timeout(limit) {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(format!("failed ({status})")),
        Ok(Err(error)) => Some(format!("cannot be waited for: {error}")),
        Err(_) => {
            kill(group);
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

/// Ends the command and all that it started and did not send away.
fn kill(group: u32) {
    // The shell's own `kill`: there need not be another one where there is a shell.
    let killed = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -s KILL -- -{group}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = killed {
        log::debug!("source_pass_command cannot be ended: {error}");
    }
}

/// What comes out of a pipe, read in the background, so that the command never waits for us.
struct Collected {
    kept: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Collected {
    fn from(pipe: Option<impl Read + Send + 'static>) -> Collected {
        let (reading, end) = channel::<()>();
        let kept = Arc::default();
        let filled = Arc::clone(&kept);
        if let Some(pipe) = pipe {
            thread::spawn(move || {
                collect(pipe, &filled);
                drop(reading);
            });
        }
        Collected { kept, end }
    }

    /// All of it, or what came until the grace is over.
    fn octets(&self) -> Vec<u8> {
        // Nothing is ever sent: the end of the sender is the end of the output.
        let _ = self.end.recv_timeout(GRACE);
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
        complaint => wrong(format_args!("{failure}: {:?}", Foreign::new(complaint))),
    }
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Config, "source_pass_command", what)
}
