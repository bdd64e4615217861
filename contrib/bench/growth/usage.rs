//! What a run uses, as the kernel counts it.

use std::fmt;
use std::fs;
use std::iter::Sum;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{megabytes, milliseconds};

/// The kernel's unit of process times in /proc.
const TICK: Duration = Duration::from_millis(10);

/// The use of one run, or of several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// The time in user and kernel mode.
    pub cpu: Duration,
    /// The time from start to end.
    pub wall: Duration,
    /// The most memory (`VmHWM`) of any run.
    pub peak_octets: u64,
}

/// Runs a command, and looks at its memory in this interval.
///
/// # Errors
/// It did not succeed.
pub fn of_run(command: &mut Command, interval: Duration) -> Result<Usage, String> {
    let cpu_before = cpu_of_children();
    let started = Instant::now();
    let mut run = command.spawn().map_err(super::failed)?;
    let mut peak_octets = 0;
    let status = loop {
        peak_octets = peak_octets.max(peak(run.id()).unwrap_or(0));
        match run.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(interval),
            Err(error) => return Err(error.to_string()),
        }
    };
    if !status.success() {
        return Err(format!("the program ended with {status}"));
    }
    Ok(Usage {
        cpu: cpu_of_children().saturating_sub(cpu_before),
        wall: started.elapsed(),
        peak_octets,
    })
}

/// The peak memory of a process so far, which only rises; `None` before it has executed the program.
fn peak(pid: u32) -> Option<u64> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let own = fs::read("/proc/self/cmdline").ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    (arguments != own).then_some(kilobytes * 1024)
}

/// The CPU time of all children that have ended: `cutime` and `cstime` of proc(5).
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a /proc");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = after_name.split_whitespace().skip(13).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}

impl Usage {
    /// The mean of as many runs; the peak stays.
    pub fn mean(self, runs: u32) -> Usage {
        Usage {
            cpu: self.cpu / runs,
            wall: self.wall / runs,
            ..self
        }
    }

    /// What this one uses more; the peak stays.
    pub fn beyond(self, other: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(other.cpu),
            wall: self.wall.saturating_sub(other.wall),
            ..self
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(usages: I) -> Usage {
        usages.fold(Usage::default(), |total, usage| Usage {
            cpu: total.cpu + usage.cpu,
            wall: total.wall + usage.wall,
            peak_octets: total.peak_octets.max(usage.peak_octets),
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, wall) = (milliseconds(self.cpu), milliseconds(self.wall));
        write!(f, "{cpu} | {wall} | {:.1} MB", megabytes(self.peak_octets))
    }
}
