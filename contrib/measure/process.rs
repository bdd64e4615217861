//! A process, and what it costs, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The kernel tells times in hundredths of a second, whatever it counts in.
const TICK: Duration = Duration::from_millis(10);

/// What a run cost.
pub struct Cost {
    /// The most memory that it ever had (`VmHWM`).
    pub peak_kilobytes: usize,
    /// Time on a processor, in user and kernel mode, to a tick.
    pub cpu: Duration,
}

/// Runs a program with `--config config.json` in a folder, to its good end.
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

/// The peak of a process so far; it only rises, so the last look is good enough. Before it has
/// become the program, it still has the memory of this one.
fn peak(pid: u32, program: &Path) -> Option<usize> {
    let is_program = fs::read_link(format!("/proc/{pid}/exe")).ok()? == program;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes = line.split_whitespace().nth(1)?.parse().ok()?;
    is_program.then_some(kilobytes)
}

/// The time that all children took which have ended: `cutime` and `cstime` of proc(5).
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a /proc");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = after_name.split_whitespace().skip(13).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}
