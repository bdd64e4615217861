//! The resources of a process, as the kernel counts them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The kernel's unit of process times in /proc.
const TICK: Duration = Duration::from_millis(10);

/// The resources of a run.
pub struct Cost {
    /// The peak memory (`VmHWM`).
    pub peak_kilobytes: usize,
    /// The CPU time in user and kernel mode.
    pub cpu: Duration,
}

/// Runs a program with `--config config.json` in a folder, and asserts that it succeeds.
pub fn run(program: &Path, folder: &Path) -> Cost {
    let cpu_before = cpu_of_children();
    let mut run = Command::new(program)
        .args(["--config", "config.json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut peak_kilobytes = 0;
    let status = loop {
        peak_kilobytes = peak_kilobytes.max(peak(run.id(), program).unwrap_or(0));
        match run.try_wait().expect("the program ends") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    assert!(status.success(), "the program ended with {status}");
    Cost {
        peak_kilobytes,
        cpu: cpu_of_children().saturating_sub(cpu_before),
    }
}

/// The peak memory of a process so far; it only rises, so the last value counts. `None` before the
/// child has executed the program, because it still has the memory of this process.
fn peak(pid: u32, program: &Path) -> Option<usize> {
    // Not `exe`, which only root can read of a process that cannot be dumped.
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_program = arguments.starts_with(program.as_os_str().as_encoded_bytes());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes = line.split_whitespace().nth(1)?.parse().ok()?;
    is_program.then_some(kilobytes)
}

/// The CPU time of all children that have ended: `cutime` and `cstime` of proc(5).
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a /proc");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = after_name.split_whitespace().skip(13).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}
