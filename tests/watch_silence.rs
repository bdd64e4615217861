//! Packets that vanish while an IDLE is on: no answer, no reset, as behind a router that forgot the
//! connection. The test runs itself once more in a network of its own, where it can make them vanish.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "a test may stop at what it does not expect, and must say when it was skipped"
)]

mod script;

use std::process::Command;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::SourceConfig;
use imap_to_gmail_sync::connection::{Bounds, Patience, Tether};
use imap_to_gmail_sync::secret::{Password, Secret};
use imap_to_gmail_sync::source::{ImapSource, News, Waiting};
use script::{Script, steps};

const INNER: &str = "in_a_network_of_its_own";

#[test]
fn packets_that_vanish_while_an_idle_is_on_are_noticed() {
    let mut inner = Command::new("unshare");
    inner.args(["--net", "--map-root-user"]);
    let can_have_one = inner
        .arg("true")
        .output()
        .is_ok_and(|ran| ran.status.success());
    let has_tools = ["ip", "tc"].iter().all(|tool| {
        let version = Command::new(tool).arg("-V").output();
        version.is_ok_and(|ran| ran.status.success())
    });
    if !can_have_one || !has_tools {
        eprintln!(
            "SKIPPED: this needs unshare, ip and tc (util-linux, iproute2), and the right to them"
        );
        return;
    }
    let ran = Command::new("unshare")
        .args(["--net", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", INNER, "--nocapture"])
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let ran = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{line}: {ran:?}");
}

#[test]
#[ignore = "the other test runs it where it can do no harm"]
fn in_a_network_of_its_own() {
    run("ip link set lo up");
    let opened = [
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR IDLE] x",
        "C: AUTHENTICATE PLAIN *",
        "S: $tag OK [CAPABILITY IMAP4rev1 IDLE] in",
        "C: EXAMINE \"INBOX\"",
        "S: * 4 EXISTS",
        "S: * OK [UIDVALIDITY 7] x",
        "S: * OK [UIDNEXT 5] x",
        "S: $tag OK opened",
        "C: NOOP",
        "S: $tag OK",
        "C: IDLE",
        "S: + idling",
        "silence",
    ];
    let script = Script::play(vec![steps(&opened)]);
    let tether = Tether::new().unwrap();
    let bounds = Bounds {
        patience: Patience {
            silence: Duration::from_secs(6),
            ..Patience::default()
        },
        tether: tether.clone(),
    };
    let password = Secret::new("secret".to_owned());
    let config = SourceConfig {
        server: script.server(),
        user: "alice".to_owned(),
        password: Password::Given(password.clone()),
        folder: "INBOX".to_owned(),
    };
    let (mut source, _) = ImapSource::open_with(&config, password, bounds).unwrap();
    let how = || Waiting {
        idles: true,
        poll_interval: Duration::from_mins(1),
        until: Instant::now() + Duration::from_mins(1),
    };
    tether.wake();
    assert_eq!(source.wait(how()).unwrap(), News::Called, "it idles now");
    // A bucket that no packet fits into.
    run("tc qdisc add dev lo root tbf rate 8bit burst 1 limit 1");
    let begun = Instant::now();
    let error = source.wait(how()).unwrap_err().to_string();
    assert!(
        error.ends_with("waiting for new mail: no answer in time"),
        "{error}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    // The player shall not wait for a farewell that vanishes.
    run("tc qdisc del dev lo root");
    drop(source);
}
