//! Lines in the journal, as `systemd-cat` sends them there.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::host_sockets::HostSockets;
use crate::program::Home;
use crate::watching::deliver;

/// systemd sets `$JOURNAL_STREAM` for services; not every version of `systemd-cat` does.
const AS_A_SERVICE: &str =
    r#"export JOURNAL_STREAM="${JOURNAL_STREAM:-$(stat -L -c %d:%i /dev/stderr)}"; exec "$@""#;

/// Runs the program under `systemd-cat`; returns its status, and priority and message of each line as
/// the journal takes them.
fn run(home: &Home, options: &[&str]) -> (Option<i32>, Vec<(char, String)>) {
    let sockets = HostSockets::new();
    let journal = UnixListener::bind(sockets.journal()).unwrap();
    let program = home.command();
    let mut command = Command::new("systemd-cat");
    command
        .args(["--identifier", "sync", "sh", "-c", AS_A_SERVICE, "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .args(options)
        .current_dir(home.path(""))
        .env_remove("JOURNAL_STREAM");
    let status = sockets.command(&command).status().unwrap();
    journal.set_nonblocking(true).unwrap();
    let (mut stream, _) = journal.accept().expect("systemd-cat connects");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    // The header: identifier, unit, priority, whether lines may have a prefix, three times whether to
    // forward.
    let mut lines = text.lines();
    let header: Vec<&str> = lines.by_ref().take(7).collect();
    assert_eq!(header, ["sync", "", "6", "1", "0", "0", "0"]);
    let lines = lines.map(|line| {
        let (prefix, message) = line.split_at(3);
        let priority = prefix.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
        let priority = priority.unwrap_or_else(|| panic!("no priority: {line}"));
        (priority.parse().unwrap(), message.to_owned())
    });
    (status.code(), lines.collect())
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn each_line_has_its_priority_and_no_time() {
    let home = Home::new();
    deliver(&home, 0);
    let (status, lines) = run(&home, &["--debug"]);
    assert_eq!(status, Some(0), "{lines:#?}");
    let priority = |begin: &str| {
        let found = lines.iter().find(|(_, message)| message.starts_with(begin));
        found.unwrap_or_else(|| panic!("{begin}: {lines:#?}")).0
    };
    assert_eq!(priority("copied <0@x> "), '5');
    assert_eq!(priority("1 copied, "), '5');
    assert!(lines.iter().any(|(priority, _)| *priority == '7'));
    let year = chrono::Local::now().format("%Y-").to_string();
    for (_, message) in &lines {
        assert!(!message.starts_with(&year), "{message}");
    }
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn an_error_that_ends_a_run_is_there_once() {
    let home = Home::new();
    home.configure(&json!({ "source_pass": "wrong" }));
    let (status, lines) = run(&home, &[]);
    assert_eq!(status, Some(77), "{lines:#?}");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0].0, '3');
}
