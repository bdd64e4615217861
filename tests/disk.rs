//! A disk that is full, read-only or corrupt: a clear error line and exit status, and nothing lost or
//! sent twice afterwards.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use chrono::{TimeDelta, Utc};
use double::{Event, Fault, GmailOptions, SourceOptions, Unfinished};
use serde_json::json;

use program::{Home, Run};

const MESSAGES: usize = 15;

/// Another user; only root can give files to it.
const STRANGER: u32 = 12_345;

/// A home with new mail. Gmail does not deduplicate, and stores appends that were cut.
fn home() -> Home {
    let home = Home::with(
        SourceOptions::default(),
        GmailOptions {
            deduplicates: false,
            unfinished: Unfinished::Stored,
            ..GmailOptions::default()
        },
    );
    for number in 0..MESSAGES {
        deliver(&home, number, TimeDelta::hours(1));
    }
    home
}

fn mail(number: usize) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into()
}

fn deliver(home: &Home, number: usize, age: TimeDelta) {
    let date = (Utc::now() - age).fixed_offset();
    home.source.deliver(&mail(number), date, &[]);
}

/// Asserts that each of the first `messages` messages is at Gmail once.
#[track_caller]
fn assert_arrived(home: &Home, messages: usize) {
    let arrived: BTreeMap<String, usize> = home
        .delivered()
        .into_iter()
        .map(|(octets, copies)| (octets, copies.len()))
        .collect();
    let expected: BTreeMap<String, usize> = (0..messages)
        .map(|number| (mail(number).escape_ascii().to_string(), 1))
        .collect();
    assert_eq!(arrived, expected);
}

/// Asserts the exit status for a disk failure, and one error line that names the file.
#[track_caller]
fn assert_blames_the_disk(run: &Run, file: &str) {
    assert_eq!(run.status, Some(74), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains(file), "{run:?}");
}

/// Runs with a working disk until nothing is left to do.
#[track_caller]
fn recover(home: &Home, state: &str) {
    for _ in 0..3 {
        home.age_file_by_minutes(state, 10);
        let run = home.run_with(&["--state-file", state]);
        assert_eq!(run.status, Some(0), "{run:?}");
    }
    assert_arrived(home, MESSAGES);
}

// A full disk.

/// A small file system in memory; dropping unmounts it.
struct FileSystem {
    folder: PathBuf,
}

impl FileSystem {
    fn mount(folder: PathBuf, size: &str) -> FileSystem {
        fs::create_dir(&folder).unwrap();
        let is_mounted = mount(&["-t", "tmpfs", "-o", size, "tmpfs"], &folder);
        assert!(is_mounted, "nobody but root may mount");
        FileSystem { folder }
    }

    /// Remounts it read-only or writable.
    fn remount(&self, how: &str) {
        assert!(mount(&["-o", &format!("remount,{how}")], &self.folder));
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let mounted = Command::new("mount")
        .args(options)
        .arg(folder)
        .stderr(Stdio::null())
        .status();
    mounted.is_ok_and(|status| status.success())
}

#[test]
fn a_file_size_limit_ends_the_run_and_nothing_is_lost_or_duplicated() {
    // A file size limit acts like a full disk: a write is cut short or fails. It needs no privileges,
    // and can strike every file at each multiple of half a kilobyte.
    let mut blamed = 0;
    for blocks in 1..30 {
        let home = home();
        let mut command = Command::new("sh");
        let whole = home.command();
        command
            .args([
                "-c",
                "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"",
                "sh",
            ])
            .arg(blocks.to_string())
            .arg(whole.get_program())
            .args(whole.get_args())
            .current_dir(home.path(""));
        let run = Run::from(command.output().unwrap());
        if run.status != Some(0) {
            assert_blames_the_disk(&run, "sync_state.json");
            blamed += 1;
        }
        recover(&home, "sync_state.json");
    }
    assert!((5..29).contains(&blamed), "{blamed}");
}

#[test]
#[ignore = "it mounts a file system; contrib/test runs it where that is permitted"]
fn a_full_file_system_ends_the_run_and_nothing_is_lost_or_duplicated() {
    let mut blamed = 0;
    for free_pages in 0..8 {
        let home = home();
        let state = "full/sync_state.json";

        let _mounted = FileSystem::mount(home.path("full"), "size=44k");
        let ballast = home.path("full/ballast");
        fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
        let filled = fs::metadata(&ballast).unwrap().len();
        let left = filled.saturating_sub(4_096 * free_pages);
        fs::File::options()
            .write(true)
            .open(&ballast)
            .and_then(|file| file.set_len(left))
            .unwrap();
        let run = home.run_with(&["--state-file", state]);
        if run.status != Some(0) {
            assert_blames_the_disk(&run, state);
            assert!(run.stderr.contains("No space left on device"), "{run:?}");
            blamed += 1;
        }
        fs::remove_file(&ballast).unwrap();
        recover(&home, state);
    }
    assert!((2..8).contains(&blamed), "{blamed}");
}

// A folder that cannot be written.

/// Asserts that the program connected to neither server.
#[track_caller]
fn assert_no_connections(home: &Home) {
    assert_eq!(home.source.connections(), 0);
    assert_eq!(home.gmail.connections(), 0);
}

#[test]
fn a_folder_that_cannot_be_written_ends_the_run_before_it_connects() {
    let home = home();
    home.write("file", "");
    for state in ["nowhere/sync_state.json", "file/sync_state.json"] {
        let run = home.run_with(&["--state-file", state]);
        assert_blames_the_disk(&run, state);
        let is_told = ["does not exist; type: mkdir -p nowhere", "must be writable"];
        assert!(
            is_told.iter().any(|line| run.stderr.contains(line)),
            "{run:?}"
        );
    }
    // A folder is where another file should be.
    fs::create_dir(home.path("sync_state.json")).unwrap();
    assert_blames_the_disk(&home.run(), "sync_state.json");
    assert_no_connections(&home);
    fs::remove_dir(home.path("sync_state.json")).unwrap();
    recover(&home, "sync_state.json");
}

// Files and links of other users.

#[test]
fn no_link_at_a_file_of_the_state_is_followed() {
    for suffix in [".lock", ".journal", ".new"] {
        let home = home();
        let name = format!("sync_state.json{suffix}");
        home.write("precious", "kept");
        symlink("precious", home.path(&name)).unwrap();
        let run = home.run();
        assert_eq!(run.status, Some(74), "{name}: {run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        let what = [": it is a symbolic link of user ", "; remove it: rm "];
        assert!(what.iter().all(|part| run.stderr.contains(part)), "{run:?}");
        assert_eq!(home.read("precious"), "kept", "{name}");
        fs::remove_file(home.path(&name)).unwrap();
        recover(&home, "sync_state.json");
    }
}

#[test]
fn a_link_to_the_state_is_followed_unless_another_user_made_it() {
    let home = home();
    fs::create_dir(home.path("real")).unwrap();
    symlink("real/sync_state.json", home.path("sync_state.json")).unwrap();
    home.run_ok();
    for suffix in ["", ".lock", ".journal"] {
        assert!(home.path(&format!("real/sync_state.json{suffix}")).exists());
    }
    assert!(
        fs::symlink_metadata(home.path("sync_state.json"))
            .unwrap()
            .is_symlink()
    );
    if lchown(home.path("sync_state.json"), Some(STRANGER), None).is_ok() {
        let before = home.read("real/sync_state.json");
        let run = home.run();
        assert_eq!(run.status, Some(74), "{run:?}");
        assert!(
            run.stderr.contains("a symbolic link of user 12345"),
            "{run:?}"
        );
        assert_eq!(home.read("real/sync_state.json"), before);
    }
}

#[test]
fn a_file_of_another_user_is_not_used_as_state() {
    for suffix in ["", ".lock", ".journal"] {
        let home = home();
        home.run_ok();
        let name = format!("sync_state.json{suffix}");
        let before = fs::read(home.path(&name)).unwrap();
        if chown(home.path(&name), Some(STRANGER), None).is_err() {
            return;
        }
        deliver(&home, MESSAGES, TimeDelta::minutes(1));
        let run = home.run();
        assert_eq!(run.status, Some(74), "{name}: {run:?}");
        let what = ["it belongs to user 12345, its folder to user 0", "chown 0 "];
        assert!(what.iter().all(|part| run.stderr.contains(part)), "{run:?}");
        assert_eq!(fs::read(home.path(&name)).unwrap(), before);
        chown(home.path(&name), Some(0), None).unwrap();
        home.run_ok();
        assert_arrived(&home, MESSAGES + 1);
    }
}

#[test]
fn what_root_writes_into_the_folder_of_a_service_belongs_to_the_service() {
    let home = home();
    fs::create_dir(home.path("service")).unwrap();
    if chown(home.path("service"), Some(STRANGER), Some(STRANGER)).is_err() {
        return;
    }
    let run = || {
        let run = home.run_with(&["--state-file", "service/sync_state.json"]);
        assert_eq!(run.status, Some(0), "{run:?}");
    };
    run();
    deliver(&home, MESSAGES, TimeDelta::minutes(1));
    run();
    home.write("service/sync_state.json", "garbage");
    chown(home.path("service/sync_state.json"), Some(STRANGER), None).unwrap();
    run();
    let files: Vec<PathBuf> = fs::read_dir(home.path("service"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 4, "snapshot, journal, lock, copy: {files:?}");
    for file in files {
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid()), (STRANGER, STRANGER), "{file:?}");
    }
}

#[test]
fn at_most_three_unreadable_copies_are_kept() {
    let home = home();
    for day in ["20260101T000000Z", "20260102T000000Z", "20260103T000000Z"] {
        home.write(&format!("sync_state.json.unreadable-{day}"), day);
    }
    home.write("sync_state.json", "garbage");
    let run = home.run_ok();
    let mut kept = moved_aside(&home);
    kept.sort();
    let expected: [&[u8]; 3] = [b"20260102T000000Z", b"20260103T000000Z", b"garbage"];
    assert_eq!(kept, expected);
    let warning = run.logged("warn").join("\n");
    assert!(
        warning.contains("unreadable-20260101T000000Z, the oldest"),
        "{run:?}"
    );
    assert!(
        run.logged("error")[0].contains("(the last 3 are kept)"),
        "{run:?}"
    );
}

#[test]
#[ignore = "it mounts a file system; contrib/test runs it where that is permitted"]
fn a_read_only_folder_ends_the_run_and_nothing_is_lost_or_duplicated() {
    let home = home();
    let state = "read-only/sync_state.json";
    let folder = home.path("read-only");
    // A mount, because root ignores file modes.
    let mounted = FileSystem::mount(folder.clone(), "size=1m");
    let make = |is_read_only: bool| mounted.remount(if is_read_only { "ro" } else { "rw" });
    make(true);
    assert!(
        fs::write(folder.join("probe"), "").is_err(),
        "it can be written"
    );
    assert_blames_the_disk(&home.run_with(&["--state-file", state]), state);
    assert_no_connections(&home);
    make(false);
    recover(&home, state);
    // A run that finds a state and cannot write it.
    deliver(&home, MESSAGES, TimeDelta::minutes(1));
    make(true);
    assert_blames_the_disk(&home.run_with(&["--state-file", state]), state);
    assert_arrived(&home, MESSAGES);
    make(false);
    assert_eq!(home.run_with(&["--state-file", state]).status, Some(0));
    assert_arrived(&home, MESSAGES + 1);
}

// A corrupt snapshot.

/// The files that `sync_state.json` was moved aside to.
fn moved_aside(home: &Home) -> Vec<Vec<u8>> {
    fs::read_dir(home.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".unreadable-"))
        .map(|path| fs::read(path).unwrap())
        .collect()
}

/// Asserts that a home that has copied all its mail, whose snapshot is then replaced by `garbage`,
/// copies one more message and sends nothing twice.
fn assert_survives(garbage: &[u8]) {
    let home = home();
    home.run_ok();
    fs::write(home.path("sync_state.json"), garbage).unwrap();
    deliver(&home, MESSAGES, TimeDelta::minutes(1));
    let run = home.run_ok();
    let error = run.stdout.lines().find(|line| line.contains(" error "));
    let error = error.unwrap_or_else(|| panic!("no error is logged: {run:?}"));
    assert!(error.contains("sync_state.json"), "{error}");
    assert_eq!(moved_aside(&home), [garbage], "{error}");
    assert_arrived(&home, MESSAGES + 1);
    home.run_ok();
    assert_arrived(&home, MESSAGES + 1);
    assert_eq!(moved_aside(&home).len(), 1);
}

#[test]
fn a_truncated_snapshot_is_moved_aside_and_everything_is_looked_up() {
    let home = home();
    home.run_ok();
    let whole = fs::read(home.path("sync_state.json")).unwrap();
    for length in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 3] {
        assert_survives(&whole[..length]);
    }
}

#[test]
fn a_snapshot_of_garbage_is_moved_aside_and_everything_is_looked_up() {
    for garbage in [
        b"\0\0\0\0\0\0\0\0".as_slice(),
        b"\xff\xfe not even text",
        b"null",
        b"[]",
        b"{\"version\": 2, \"cursor\": \"x\"}",
        b"{\"synced_message_ids\": 5}",
        b"{\"version\": 2}{\"version\": 2}",
    ] {
        assert_survives(garbage);
    }
}

#[test]
fn after_a_broken_snapshot_that_was_old_the_run_looks_back_longer() {
    let home = home();
    home.run_ok();
    let file = home.path("sync_state.json");
    fs::write(&file, "garbage").unwrap();
    let then = SystemTime::now() - Duration::from_hours(20 * 24);
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_modified(then))
        .unwrap();
    deliver(&home, MESSAGES, TimeDelta::days(15));
    home.run_ok();
    assert_arrived(&home, MESSAGES + 1);
}

#[test]
fn a_deleted_state_means_a_first_run() {
    let home = home();
    home.run_ok();
    fs::remove_file(home.path("sync_state.json")).unwrap();
    deliver(&home, MESSAGES, TimeDelta::minutes(1));
    let run = home.run_ok();
    assert!(!run.stdout.contains(" error "), "{run:?}");
    assert_arrived(&home, MESSAGES + 1);
    assert!(moved_aside(&home).is_empty());
}

// A corrupt journal.

/// A home whose run was killed when Gmail had read the third message of the second group.
fn killed_home() -> Home {
    let home = home();
    let mut literals = 0;
    home.gmail.faults().once(
        move |event| {
            literals += usize::from(Event::is_literal(event));
            literals == 13
        },
        Fault::Stall,
    );
    let mut run = home.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    let literals = |home: &Home| {
        let events = home.gmail.events();
        events.iter().filter(|event| event.is_literal()).count()
    };
    while literals(&home) < 13 {
        assert!(Instant::now() < deadline, "the run does not go on");
        std::thread::yield_now();
    }
    run.kill().unwrap();
    run.wait().unwrap();
    home.gmail.faults().release();
    home
}

#[test]
fn a_torn_journal_is_read_up_to_the_last_complete_line() {
    let journal = "sync_state.json.journal";
    let length = fs::read(killed_home().path(journal)).unwrap().len();
    assert!(length > 2_000, "{length}");
    for torn in [1, 2, 30, 100, 300, 700, length / 2, length - 10, length] {
        let home = killed_home();
        let whole = fs::read(home.path(journal)).unwrap();
        fs::write(
            home.path(journal),
            &whole[..whole.len().saturating_sub(torn)],
        )
        .unwrap();
        recover(&home, "sync_state.json");
    }
}

#[test]
fn garbage_in_the_journal_hides_no_earlier_line() {
    let journal = "sync_state.json.journal";
    for garbage in [
        b"\0\0\0\0\0\0".as_slice(),
        b"{\"cursor\":",
        b"\xff\xfe\n{}\n",
        b"{}\n",
    ] {
        let home = killed_home();
        let mut whole = fs::read(home.path(journal)).unwrap();
        whole.extend_from_slice(garbage);
        fs::write(home.path(journal), whole).unwrap();
        recover(&home, "sync_state.json");
    }
}

// A state that must not be written.

#[test]
fn a_state_of_a_later_version_is_an_error_and_stays_unchanged() {
    let home = home();
    home.run_ok();
    let connections = (home.source.connections(), home.gmail.connections());
    let mut state = home.state();
    state["version"] = json!(4);
    state["cursor"] = json!({ "some other": "shape" });
    let newer = state.to_string();
    home.write("sync_state.json", &newer);
    let run = home.run();
    assert_eq!(run.status, Some(78), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("version 4"), "{run:?}");
    assert_eq!(home.read("sync_state.json"), newer);
    assert!(moved_aside(&home).is_empty());
    assert_eq!(
        (home.source.connections(), home.gmail.connections()),
        connections
    );
}

#[test]
fn a_state_of_another_account_is_an_error_and_stays_unchanged() {
    for other in [
        json!({ "source_user": "another" }),
        json!({ "source_folder": "Archive" }),
        json!({ "target_user": "another@gmail.com" }),
        json!({ "target_folder": "Archive" }),
    ] {
        let home = home();
        home.run_ok();
        let connections = (home.source.connections(), home.gmail.connections());
        let (state, config) = (home.read("sync_state.json"), home.read("config.json"));
        home.configure(&other);
        let run = home.run();
        assert_eq!(run.status, Some(78), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(run.stderr.contains("--state-file"), "{run:?}");
        assert_eq!(home.read("sync_state.json"), state);
        assert_eq!(
            (home.source.connections(), home.gmail.connections()),
            connections
        );
        // With a corrected configuration it goes on.
        home.write("config.json", &config);
        deliver(&home, MESSAGES, TimeDelta::minutes(1));
        home.run_ok();
        assert_arrived(&home, MESSAGES + 1);
    }
}
