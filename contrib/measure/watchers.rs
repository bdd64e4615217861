//! Many accounts at once, each with `--watch`: memory, CPU time and connections, while nothing arrives
//! and in a burst.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::Account;

/// The messages of the burst, for each account, and their size.
const BURST: usize = 10;
const MESSAGE: usize = 50_000;

/// Only a measurement that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(5);

/// An account and its process; dropping ends it.
struct Watcher {
    account: Account,
    process: Child,
}

/// The use of all processes together.
#[derive(Default)]
struct Use {
    /// Proportional set size: what several processes share counts in parts.
    pss_kilobytes: usize,
    /// Memory that no file backs: what a further process needs.
    anonymous_kilobytes: usize,
    rss_kilobytes: usize,
    connections: usize,
    cpu: Duration,
}

/// Starts an account each, and prints the use of all of them.
pub fn measure(program: &Path, accounts: usize, idle: Duration) {
    println!("{accounts} processes with --watch, each with an account of its own");
    let watchers: Vec<Watcher> = (0..accounts).map(|_| Watcher::start(program)).collect();
    wait_for(&watchers, 1);
    let idle_use = |minutes: Duration| {
        let before = Use::of(&watchers).cpu;
        std::thread::sleep(minutes);
        let mut now = Use::of(&watchers);
        now.cpu = now.cpu.saturating_sub(before);
        now
    };
    println!("\nidle for {} s:", idle.as_secs());
    idle_use(idle).print(accounts);

    let before = Use::of(&watchers).cpu;
    let mut peak = Use::default();
    for watcher in &watchers {
        for number in 0..BURST {
            watcher.deliver(number + 1, MESSAGE);
        }
    }
    let deadline = Instant::now() + TIMEOUT;
    while watchers.iter().any(|watcher| watcher.arrived() < BURST + 1) {
        assert!(Instant::now() < deadline, "the burst does not arrive");
        peak.rise_to(&Use::of(&watchers));
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("\nthe peak while {BURST} messages of {MESSAGE} octets arrive for each at once:");
    peak.cpu = peak.cpu.saturating_sub(before);
    peak.print(accounts);
    println!("\na minute later:");
    idle_use(Duration::from_mins(1)).print(accounts);
}

fn wait_for(watchers: &[Watcher], messages: usize) {
    let deadline = Instant::now() + TIMEOUT;
    while watchers.iter().any(|watcher| watcher.arrived() < messages) {
        assert!(
            Instant::now() < deadline,
            "the first message does not arrive"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // The connections to Gmail are closed after the pass.
    std::thread::sleep(Duration::from_secs(30));
}

impl Watcher {
    fn start(program: &Path) -> Watcher {
        let account = Account::open(program);
        let process = Command::new(program)
            .args(["--config", "config.json", "--watch"])
            .current_dir(account.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        let watcher = Watcher { account, process };
        watcher.deliver(0, 1_000);
        watcher
    }

    fn deliver(&self, number: usize, length: usize) {
        let mut octets = format!("Message-ID: <{number}@example.com>\r\n\r\n").into_bytes();
        while octets.len() < length {
            octets.extend_from_slice(b"0123456789abcdef0123456789abcdef\r\n");
        }
        let now = Utc::now().fixed_offset();
        self.account.source.deliver(&octets, now, &[]);
    }

    fn arrived(&self) -> usize {
        self.account.gmail.messages("INBOX").len()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Use {
    fn of(watchers: &[Watcher]) -> Use {
        let established = established();
        let mut sum = Use::default();
        for watcher in watchers {
            let folder = format!("/proc/{}", watcher.process.id());
            let memory = fs::read_to_string(format!("{folder}/smaps_rollup")).expect("root");
            let kilobytes = |name| {
                let line = memory.lines().find_map(|line| line.strip_prefix(name));
                let number = line.and_then(|line| line.split_whitespace().next());
                number.expect("a size").parse::<usize>().expect("a number")
            };
            sum.pss_kilobytes += kilobytes("Pss:");
            sum.anonymous_kilobytes += kilobytes("Anonymous:");
            sum.rss_kilobytes += kilobytes("Rss:");
            sum.connections += sockets(&folder).intersection(&established).count();
            sum.cpu += cpu(&folder);
        }
        sum
    }

    fn rise_to(&mut self, other: &Use) {
        self.pss_kilobytes = self.pss_kilobytes.max(other.pss_kilobytes);
        self.anonymous_kilobytes = self.anonymous_kilobytes.max(other.anonymous_kilobytes);
        self.rss_kilobytes = self.rss_kilobytes.max(other.rss_kilobytes);
        self.connections = self.connections.max(other.connections);
        self.cpu = self.cpu.max(other.cpu);
    }

    fn print(&self, accounts: usize) {
        let row = |what: &str, all: usize| {
            println!("    {what:<22} {all:>8} {:>8}", all.div_ceil(accounts));
        };
        println!("    {:<22} {:>8} {:>8}", "", "all", "each");
        row("PSS, kB", self.pss_kilobytes);
        row("anonymous, kB", self.anonymous_kilobytes);
        row("RSS, kB", self.rss_kilobytes);
        row("connections", self.connections);
        let milliseconds = usize::try_from(self.cpu.as_millis()).expect("a short time");
        row("CPU time, ms", milliseconds);
    }
}

/// The inodes of all established TCP connections of this machine.
fn established() -> HashSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "01")
        .map(|fields| fields[9].to_owned())
        .collect()
}

/// The inodes of the sockets of a process.
fn sockets(folder: &str) -> HashSet<String> {
    let files = fs::read_dir(format!("{folder}/fd")).expect("root");
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .filter_map(|target| {
            let target = target.to_string_lossy().into_owned();
            let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect()
}

/// The CPU time of a process: that of its threads to the nanosecond, or, if threads have ended, that of
/// `stat` in ticks.
fn cpu(folder: &str) -> Duration {
    let threads = fs::read_dir(format!("{folder}/task")).expect("its threads");
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    let of_threads = Duration::from_nanos(times.sum());
    let stat = fs::read_to_string(format!("{folder}/stat")).expect("a process");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks
        .map(|ticks| ticks.parse::<u64>().expect("ticks"))
        .sum();
    of_threads.max(Duration::from_millis(ticks * 10))
}
