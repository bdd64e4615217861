//! The log file: is each line in it once, whatever is killed, full, moved or locked?

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::process::log_file::{LogFile, RotationLimits};

#[path = "engine/dice.rs"]
#[allow(dead_code)]
mod dice;

use dice::Dice;

/// The suffix of a packed file.
const PACKED: &str = if cfg!(feature = "zstd") { "zst" } else { "gz" };

/// A folder for a log and its old files.
struct Logs(tempfile::TempDir);

impl Logs {
    fn new() -> Logs {
        Logs(tempfile::tempdir().unwrap())
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.0.path().join(format!("sync.log{suffix}"))
    }

    fn open(&self, max_size: u64, max_files: u32) -> LogFile {
        open(&self.path(""), max_size, max_files)
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    fn read(&self, suffix: &str) -> String {
        contents(&self.path(suffix))
    }
}

fn open(path: &Path, max_size: u64, max_files: u32) -> LogFile {
    let limits = RotationLimits {
        max_size,
        max_files,
    };
    LogFile::open(path, limits).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The text of a file, unpacked.
fn contents(path: &Path) -> String {
    let file = File::open(path).unwrap();
    let mut text = String::new();
    match path.extension().unwrap().to_str().unwrap() {
        #[cfg(feature = "zstd")]
        "zst" => zstd::Decoder::new(file)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap(),
        "gz" => flate2::read::MultiGzDecoder::new(file)
            .read_to_string(&mut text)
            .unwrap(),
        _ => { &file }.read_to_string(&mut text).unwrap(),
    };
    text
}

/// Asserts that the tool, if it is installed, takes the file for whole.
#[track_caller]
fn assert_whole(path: &Path) {
    let tool = match path.extension().unwrap().to_str().unwrap() {
        "zst" => "zstd",
        "gz" => "gzip",
        _ => return,
    };
    match Command::new(tool).args(["-t", "-q"]).arg(path).status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        status => assert!(status.unwrap().success(), "{}", path.display()),
    }
}

/// All files of the log, the oldest first. Asserts that the old ones have consecutive numbers and
/// are packed, and that there is nothing else.
#[track_caller]
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut left: BTreeSet<String> = names(folder).into_iter().collect();
    let mut files = vec!["sync.log".to_owned()];
    assert!(left.remove("sync.log"), "{left:?}");
    for number in 1.. {
        let of_number = ["zst", "gz"].map(|suffix| format!("sync.log.{number}.{suffix}"));
        let Some(name) = of_number.into_iter().find(|name| left.remove(name)) else {
            break;
        };
        files.push(name);
    }
    assert_eq!(left, BTreeSet::new(), "leftovers");
    files.iter().rev().map(|name| folder.join(name)).collect()
}

// Killed under load.

/// The environment variable that makes the test binary a process that writes.
const WRITER: &str = "LOG_FILE_TEST_WRITER";

const THREADS: usize = 4;

/// The lines of a thread are numbered. Each has the same length, so that a torn one is noticed.
fn line_of(writer: &str, thread: usize, number: u32) -> String {
    let digits = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!(
        "{writer} {thread} {number:06} {digits:016x} copied a message to Gmail, it is here now."
    )
}

/// The part of this suite that is another process. `WRITER` is the log, the folder in which each line
/// that `write` reported as written is acknowledged, the name of the writer, the end, and the number
/// from which each thread goes on.
#[test]
fn a_process_that_other_tests_start_and_kill() {
    let Ok(task) = std::env::var(WRITER) else {
        return;
    };
    let words: Vec<&str> = task.split('|').collect();
    let [log, folder, writer, end, starts @ ..] = words.as_slice() else {
        panic!("{words:?}");
    };
    let end: u32 = end.parse().unwrap();
    let log = &open(Path::new(log), 64 << 10, 1000);
    thread::scope(|scope| {
        for (thread, start) in starts.iter().enumerate() {
            let acknowledged = acknowledgements(Path::new(folder), writer, thread);
            scope.spawn(move || {
                let mut options = OpenOptions::new();
                let mut file = options
                    .create(true)
                    .append(true)
                    .open(acknowledged)
                    .unwrap();
                for number in start.parse::<u32>().unwrap()..end {
                    log.write(&line_of(writer, thread, number)).unwrap();
                    file.write_all(&number.to_le_bytes()).unwrap();
                }
            });
        }
    });
    assert!(log.take_rotation_error().is_none());
}

fn acknowledgements(folder: &Path, writer: &str, thread: usize) -> PathBuf {
    folder.join(format!("{writer}-{thread}"))
}

/// A process of [`THREADS`] threads that is restarted after it was killed.
struct Writer {
    name: &'static str,
    folder: PathBuf,
    log: PathBuf,
    end: u32,
    /// The number of each thread's next line.
    starts: [u32; THREADS],
    child: Child,
}

impl Writer {
    fn start(name: &'static str, log: &Path, folder: &Path, end: u32) -> Writer {
        let starts = [0; THREADS];
        Writer {
            name,
            folder: folder.to_owned(),
            log: log.to_owned(),
            end,
            starts,
            child: Self::spawn(name, log, folder, end, starts),
        }
    }

    fn spawn(name: &str, log: &Path, folder: &Path, end: u32, starts: [u32; THREADS]) -> Child {
        let starts = starts.map(|start| start.to_string()).join("|");
        let (log, folder) = (log.display(), folder.display());
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_other_tests_start_and_kill"])
            .env(WRITER, format!("{log}|{folder}|{name}|{end}|{starts}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn acknowledged(&self, thread: usize) -> Vec<u32> {
        let octets = fs::read(acknowledgements(&self.folder, self.name, thread));
        let octets = octets.unwrap_or_default();
        let numbers = octets.chunks_exact(4);
        numbers
            .map(|octets| u32::from_le_bytes(octets.try_into().unwrap()))
            .collect()
    }

    /// How many lines are acknowledged.
    fn count(&self) -> u64 {
        let files = (0..THREADS).map(|thread| acknowledgements(&self.folder, self.name, thread));
        files
            .map(|file| fs::metadata(file).map_or(0, |found| found.len() / 4))
            .sum()
    }

    fn has_ended(&mut self) -> bool {
        match self.child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{status}");
                true
            }
            None => false,
        }
    }

    /// Kills the process and starts it again. The line that each thread was writing may be written or
    /// not; it goes on with the next one.
    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for thread in 0..THREADS {
            let last = self.acknowledged(thread).last().copied();
            let in_doubt = last.map_or(0, |last| last + 1).max(self.starts[thread]);
            self.starts[thread] = (in_doubt + 1).min(self.end);
        }
        self.child = Self::spawn(self.name, &self.log, &self.folder, self.end, self.starts);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets processes write, kills one of them at each of so many moments, and asserts that each
/// acknowledged line is there once.
fn write_under_kills(names: &[&'static str], lines_each: u32, kills: u32, seed: u64) -> Logs {
    let logs = Logs::new();
    let acknowledged = tempfile::tempdir().unwrap();
    let end = lines_each / u32::try_from(THREADS).unwrap();
    let mut writers: Vec<Writer> = names
        .iter()
        .map(|name| Writer::start(name, &logs.path(""), acknowledged.path(), end))
        .collect();
    let total = u64::from(lines_each) * names.len() as u64;
    let mut dice = Dice::new(seed);
    let mut killed = 0;
    let deadline = Instant::now() + Duration::from_mins(3);
    while !writers.iter_mut().all(Writer::has_ended) {
        assert!(Instant::now() < deadline, "the writers do not end");
        let count: u64 = writers.iter().map(Writer::count).sum();
        if killed < kills && count >= total * u64::from(killed) / u64::from(kills + 1) {
            thread::sleep(Duration::from_micros(dice.below(6_000).into()));
            let victim = dice.below(u32::try_from(writers.len()).unwrap()) as usize;
            if !writers[victim].has_ended() {
                writers[victim].kill_and_restart();
            }
            killed += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(killed, kills);
    // One more rotation clears away what a killed process left.
    let log = logs.open(64 << 10, 1000);
    let more: Vec<String> = (0..1500).map(|number| line_of("last", 0, number)).collect();
    for line in &more {
        log.write(line).unwrap();
    }
    assert!(log.take_rotation_error().is_none());

    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    let mut last: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut torn = 0;
    let length = line_of("one!", 0, 0).len();
    for path in files_of(logs.0.path()) {
        assert_whole(&path);
        let text = contents(&path);
        let name = path.display();
        assert!(text.ends_with('\n'), "{name}");
        if names.len() == 1 {
            assert!(text.len() <= 64 << 10, "{name} has {} octets", text.len());
        }
        for line in text.lines() {
            if line.len() != length {
                torn += 1;
                continue;
            }
            *found.entry(line.to_owned()).or_default() += 1;
            let words: Vec<&str> = line.split(' ').collect();
            let of_thread = (words[0].to_owned(), words[1].to_owned());
            let number: u32 = words[2].parse().unwrap();
            let before = last.insert(of_thread, number);
            assert!(before.is_none_or(|before| before < number), "{line}");
        }
    }
    assert!(torn <= kills, "{torn} torn lines");
    assert!(found.values().all(|times| *times == 1));
    for line in &more {
        assert!(found.remove(line).is_some(), "lost: {line}");
    }
    for writer in &writers {
        for thread in 0..THREADS {
            for number in writer.acknowledged(thread) {
                let line = line_of(writer.name, thread, number);
                assert!(found.remove(&line).is_some(), "lost: {line}");
            }
        }
    }
    // Written, and killed before the acknowledgement.
    let unacknowledged = found.len();
    assert!(unacknowledged <= kills as usize * THREADS, "{found:?}");
    logs
}

#[test]
fn a_process_killed_fifty_times_under_load_loses_and_doubles_no_line() {
    let logs = write_under_kills(&["one!"], 200_000, 50, 1);
    assert!(logs.names().len() > 100, "{:?}", logs.names());
}

#[test]
fn two_processes_killed_under_load_lose_and_double_no_line() {
    let logs = write_under_kills(&["one!", "two!"], 80_000, 30, 2);
    assert!(logs.names().len() > 10, "{:?}", logs.names());
}

// Rotation.

#[test]
fn the_file_rotates_before_a_line_would_exceed_its_size() {
    let logs = Logs::new();
    let log = logs.open(20, 5);
    for line in ["123456789", "abcdefghi", "next"] {
        log.write(line).unwrap();
    }
    let large = "longer than the limit of the file";
    log.write(large).unwrap();
    log.write("short").unwrap();
    assert_eq!(logs.read(""), "short\n");
    let old = |number| logs.read(&format!(".{number}.{PACKED}"));
    assert_eq!(old(1), format!("{large}\n"));
    assert_eq!(old(2), "next\n");
    assert_eq!(old(3), "123456789\nabcdefghi\n");
    assert_eq!(logs.names().len(), 4);
}

#[test]
fn only_so_many_old_files_are_kept_and_those_of_the_original_are_counted() {
    let logs = Logs::new();
    for number in 1..=6 {
        let name = logs.path(&format!(".{number}"));
        fs::write(&name, format!("old {number}\n")).unwrap();
        let packed = Command::new(if number % 2 == 0 { "gzip" } else { "zstd" })
            .args(if number % 2 == 0 {
                ["-q", "-f"]
            } else {
                ["-q", "--rm"]
            })
            .arg(&name)
            .status();
        // Without the tool it stays unpacked, which counts as well.
        drop(packed);
    }
    let log = logs.open(10, 5);
    for number in 0..3 {
        log.write(&format!("line {number}")).unwrap();
    }
    let numbers: Vec<String> = logs
        .names()
        .iter()
        .map(|name| name.split('.').nth(2).unwrap_or("0").to_owned())
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5"]);
    drop(log);
    let log = logs.open(10, 0);
    log.write("line 3").unwrap();
    assert_eq!(logs.names(), ["sync.log"]);
    assert_eq!(logs.read(""), "line 3\n");
}

#[test]
fn the_highest_number_of_old_files_keeps_all() {
    let logs = Logs::new();
    let log = logs.open(10, u32::MAX);
    for number in 0..4 {
        log.write(&format!("line {number}")).unwrap();
    }
    assert!(log.take_rotation_error().is_none());
    assert_eq!(logs.names().len(), 4);
}

#[test]
fn the_log_and_its_old_files_have_the_mode_0640() {
    let logs = Logs::new();
    let log = logs.open(10, 5);
    let umask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(umask);
    let mode = |suffix: &str| fs::metadata(logs.path(suffix)).unwrap().mode() & 0o777;
    log.write("line 1").unwrap();
    log.write("line 2").unwrap();
    let expected = 0o640 & !umask.bits();
    assert_eq!(mode(""), expected);
    assert_eq!(mode(&format!(".1.{PACKED}")), expected);
    fs::set_permissions(logs.path(""), Permissions::from_mode(0o600)).unwrap();
    log.write("line 3").unwrap();
    assert_eq!(mode(&format!(".1.{PACKED}")), 0o600);
}

#[test]
fn what_root_logs_in_a_folder_of_a_service_belongs_to_the_service() {
    const SERVICE: u32 = 12_345;
    let logs = Logs::new();
    if fs::metadata(logs.0.path()).unwrap().uid() != 0 {
        return;
    }
    chown(logs.0.path(), Some(SERVICE), Some(SERVICE)).unwrap();
    let log = logs.open(10, 5);
    log.write("line 1").unwrap();
    log.write("line 2").unwrap();
    for suffix in ["", &format!(".1.{PACKED}")] {
        let file = fs::metadata(logs.path(suffix)).unwrap();
        assert_eq!((file.uid(), file.gid()), (SERVICE, SERVICE), "{suffix}");
    }
    // A link of another user is not followed.
    let link = logs.path("-link");
    symlink(logs.path(""), &link).unwrap();
    lchown(&link, Some(SERVICE + 1), None).unwrap();
    let limits = RotationLimits {
        max_size: 10,
        max_files: 5,
    };
    let error = LogFile::open(&link, limits).unwrap_err();
    assert_eq!(error.to_string(), "it is a symbolic link of user 12346");
}

#[test]
fn a_torn_last_line_is_ended_first() {
    let logs = Logs::new();
    fs::write(logs.path(""), "killed in the mid").unwrap();
    let log = logs.open(1000, 5);
    log.write("whole").unwrap();
    let mut other = OpenOptions::new().append(true).open(logs.path("")).unwrap();
    other.write_all(b"another to").unwrap();
    log.write("whole").unwrap();
    log.write("whole").unwrap();
    let text = "killed in the mid\nwhole\nanother to\nwhole\nwhole\n";
    assert_eq!(logs.read(""), text);
}

// Other processes.

#[test]
fn while_another_process_packs_the_last_file_lines_go_beyond_the_limit() {
    let logs = Logs::new();
    fs::write(logs.path(".1"), "unpacked\n").unwrap();
    let packing = File::open(logs.path(".1")).unwrap();
    packing.lock().unwrap();
    fs::write(logs.path(".packing"), "half of it").unwrap();
    let log = logs.open(10, 5);
    for number in 0..3 {
        log.write(&format!("line {number}")).unwrap();
    }
    assert_eq!(logs.read(""), "line 0\nline 1\nline 2\n");
    assert_eq!(logs.names(), ["sync.log", "sync.log.1", "sync.log.packing"]);
    // It is killed.
    packing.unlock().unwrap();
    log.write("line 3").unwrap();
    assert_eq!(logs.read(""), "line 3\n");
    assert_eq!(
        logs.read(&format!(".1.{PACKED}")),
        "line 0\nline 1\nline 2\n"
    );
    assert_eq!(logs.read(&format!(".2.{PACKED}")), "unpacked\n");
    assert_eq!(logs.names().len(), 3);
    assert!(log.take_rotation_error().is_none());
}

#[test]
fn a_process_that_keeps_the_lock_delays_one_line_and_stops_none() {
    let logs = Logs::new();
    let log = logs.open(10, 5);
    log.write("line 0").unwrap();
    let stopped = File::open(logs.path("")).unwrap();
    stopped.lock().unwrap();
    let start = Instant::now();
    for number in 1..20 {
        log.write(&format!("line {number}")).unwrap();
    }
    assert!(start.elapsed() < Duration::from_mins(1), "each one waited");
    assert_eq!(logs.read("").lines().count(), 20);
    assert_eq!(logs.names(), ["sync.log"]);
    let error = log.take_rotation_error().unwrap().to_string();
    assert!(error.contains("keeps its lock"), "{error}");
    assert!(log.take_rotation_error().is_none(), "it is told of once");
    stopped.unlock().unwrap();
    log.write("line 20").unwrap();
    assert_eq!(logs.read(""), "line 20\n");
}

#[test]
fn logrotate_may_move_create_or_truncate_the_file() {
    let logs = Logs::new();
    let log = logs.open(1000, 5);
    log.write("line 1").unwrap();
    fs::rename(logs.path(""), logs.path(".1")).unwrap();
    log.write("line 2").unwrap();
    assert_eq!(logs.read(""), "line 2\n");
    fs::rename(logs.path(""), logs.path("-moved")).unwrap();
    fs::write(logs.path(""), "").unwrap();
    log.write("line 3").unwrap();
    assert_eq!(logs.read(""), "line 3\n");
    File::options()
        .write(true)
        .open(logs.path(""))
        .unwrap()
        .set_len(0)
        .unwrap();
    log.write("line 4").unwrap();
    assert_eq!(logs.read(""), "line 4\n");
    assert_eq!(logs.read(".1"), "line 1\n");
}

#[test]
fn a_link_is_followed_and_after_a_reopening_again() {
    let logs = Logs::new();
    let link = logs.path("-link");
    symlink(logs.path(""), &link).unwrap();
    let log = open(&link, 10, 5);
    log.write("line 1").unwrap();
    log.write("line 2").unwrap();
    assert_eq!(logs.read(""), "line 2\n");
    assert_eq!(logs.read(&format!(".1.{PACKED}")), "line 1\n");
    fs::remove_file(&link).unwrap();
    symlink(logs.path("-other"), &link).unwrap();
    log.reopen();
    log.write("line 3").unwrap();
    assert_eq!(logs.read("-other"), "line 3\n");
}

// What cannot be written.

#[test]
fn a_device_is_written_and_a_folder_or_pipe_is_refused() {
    let limits = RotationLimits {
        max_size: 1,
        max_files: 1,
    };
    let null = LogFile::open(Path::new("/dev/null"), limits).unwrap();
    null.write("line 1").unwrap();
    null.write("line 2").unwrap();
    assert!(null.take_rotation_error().is_none());
    let full = LogFile::open(Path::new("/dev/full"), limits).unwrap();
    let error = full.write("line").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let logs = Logs::new();
    let error = LogFile::open(logs.0.path(), limits).unwrap_err();
    assert_eq!(error.to_string(), "it is a folder, not a file");
    let pipe = logs.path("-pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let link = logs.path("-link");
    symlink(&pipe, &link).unwrap();
    // So is /dev/stdout if it is a pipe.
    let (_reader, stream) = io::pipe().unwrap();
    let stream_path = PathBuf::from(format!("/proc/self/fd/{}", stream.as_raw_fd()));
    for path in [pipe, link, stream_path] {
        let error = LogFile::open(&path, limits).unwrap_err();
        assert_eq!(error.to_string(), "it is a pipe or a socket, not a file");
    }
    let error = LogFile::open(Path::new("/nonexistent/log"), limits).unwrap_err();
    assert_eq!(error.to_string(), "the folder /nonexistent does not exist");
}

#[test]
fn a_line_that_a_full_disk_cuts_short_is_taken_back() {
    const LIMITED: &str = "LOG_FILE_TEST_LIMITED";
    if let Ok(path) = std::env::var(LIMITED) {
        let log = open(Path::new(&path), 1 << 20, 5);
        while log.write(&line_of("cut", 0, 0)).is_ok() {}
        return;
    }
    // A file size limit acts like a full disk: a write is cut short, and the next one fails.
    let logs = Logs::new();
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_line_that_a_full_disk_cuts_short_is_taken_back",
        ])
        .env(LIMITED, logs.path(""))
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let text = logs.read("");
    assert!(text.ends_with('\n') && text.len() > 1900, "{text}");
    assert!(text.lines().all(|line| line == line_of("cut", 0, 0)));
}

#[test]
fn a_rotation_that_fails_is_told_of_once_and_the_lines_go_on() {
    let logs = Logs::new();
    let log = logs.open(20, 5);
    let obstacle = logs.path(".packing");
    for _ in 0..2 {
        fs::create_dir(&obstacle).unwrap();
        let mut told = Vec::new();
        for number in 0..9 {
            log.write(&format!("line {number}")).unwrap();
            told.extend(log.take_rotation_error());
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].to_string().contains("sync.log.packing"), "{told:?}");
        assert_eq!(logs.read("").lines().count(), 9);
        assert!(logs.names().contains(&"sync.log.packing".to_owned()));
        fs::remove_dir(&obstacle).unwrap();
        log.write("line 9").unwrap();
        assert_eq!(logs.read(""), "line 9\n");
        fs::remove_file(logs.path("")).unwrap();
        assert!(log.take_rotation_error().is_none());
    }
}

/// A small file system in memory; dropping unmounts it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf) -> SmallDisk {
        fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mounted.unwrap().success(), "nobody but root may mount");
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
#[ignore = "it mounts a file system; contrib/test runs it where that is permitted"]
fn a_full_disk_loses_only_the_lines_that_were_refused() {
    for free_pages in 0..12 {
        let home = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(home.path().join("disk"));
        let ballast = disk.0.join("ballast");
        fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
        let left = fs::metadata(&ballast).unwrap().len() - 4096 * free_pages;
        let file = File::options().write(true).open(&ballast).unwrap();
        file.set_len(left).unwrap();
        drop(file);

        let log = open(&disk.0.join("sync.log"), 10_000, 100);
        let mut written = Vec::new();
        let mut refused = 0;
        let mut told = Vec::new();
        for number in 0..1000 {
            let line = line_of("full", 0, number);
            match log.write(&line) {
                Ok(()) => written.push(line),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
                    refused += 1;
                }
            }
            told.extend(log.take_rotation_error());
            if number == 500 {
                assert!(refused > 0 || free_pages > 3);
                fs::remove_file(&ballast).unwrap();
                refused = 0;
            }
        }
        assert_eq!(refused, 0, "there was room");
        assert!(told.len() <= 3, "{told:?}");
        let files = files_of(&disk.0);
        let text: String = files.iter().map(|path| contents(path)).collect();
        assert!(
            text.lines().eq(written.iter()),
            "{free_pages} pages: {told:?}"
        );
    }
}
