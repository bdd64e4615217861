//! The units of users under the systemd of a user.

use serde_json::json;

use crate::machine::{Image, Machine};
use crate::program::Home;
use crate::unit_file::documented_drop_in;
use crate::watching::{arrived, deliver};

/// Where `cargo install` puts it.
const PROGRAM: &str = "/home/alice/.cargo/bin/imap-to-gmail-sync";

const CONFIGS: &str = "home/alice/.config/imap-to-gmail-sync";

const FILES: [&str; 3] = ["token.json", "source.pem", "gmail.pem"];

/// Boots, and starts Alice's manager.
fn boot(image: Image) -> Machine {
    let machine = image.boot(PROGRAM);
    machine.run_ok(&["chown", "-R", "alice:alice", "/home/alice"]);
    machine.run_ok(&["systemctl", "start", "manager-of-user"]);
    machine
}

fn systemctl(machine: &Machine, words: &[&str]) -> Option<i32> {
    let words = [&["systemctl", "--user"], words].concat();
    machine.run_as_alice(&words).status
}

fn is_active(machine: &Machine, unit: &str) -> bool {
    systemctl(machine, &["is-active", unit]) == Some(0)
}

/// An image with these accounts; the same two servers for each.
fn image(home: &Home, configs: &[&str]) -> Image {
    let image = Image::new();
    for config in configs {
        let path = format!("{CONFIGS}/{config}.json");
        image.write(&path, &home.read("config.json"), 0o600);
    }
    for file in FILES {
        image.write(&format!("{CONFIGS}/{file}"), &home.read(file), 0o600);
    }
    image
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn a_user_runs_timer_and_watcher_for_one_account_and_for_several() {
    let home = Home::new();
    let image = image(&home, &["alice", "config"]);
    for instance in ["", "@"] {
        let path = format!("etc/systemd/user/imap-to-gmail-sync{instance}.timer.d/test.conf");
        let at_once = "[Timer]\nOnActiveSec=0\nAccuracySec=1ms\nRandomizedDelaySec=0\n";
        image.write(&path, at_once, 0o644);
    }
    let machine = boot(image);
    let mut count = 0;
    for (instance, name) in [("@alice", "alice"), ("", "config")] {
        for unit in [
            format!("imap-to-gmail-sync{instance}.timer"),
            format!("imap-to-gmail-sync-watch{instance}.service"),
        ] {
            deliver(&home, count);
            count += 1;
            assert_eq!(systemctl(&machine, &["enable", "--now", &unit]), Some(0));
            machine.wait_until(&unit, || arrived(&home) == count);
            assert!(is_active(&machine, &unit));
        }
        let timer = format!("imap-to-gmail-sync{instance}.timer");
        assert!(!is_active(&machine, &timer), "the watcher stops the timer");
        let watcher = format!("imap-to-gmail-sync-watch{instance}.service");
        assert_eq!(systemctl(&machine, &["reload", &watcher]), Some(0));
        assert_eq!(systemctl(&machine, &["stop", &watcher]), Some(0));
        let state = format!("/home/alice/.local/state/imap-to-gmail-sync/{name}");
        let modes = machine.run_ok(&[
            "stat",
            "--format=%a %U",
            &state,
            &format!("{state}/sync_state.json"),
        ]);
        assert_eq!(modes, "700 alice\n600 alice\n");
    }
    let about_starts = machine.journal().into_iter().filter(|line| {
        line.message.contains("imap-to-gmail-sync.service")
            || line.message.contains("imap-to-gmail-sync@alice.service")
    });
    assert_eq!(about_starts.count(), 0, "{:#?}", machine.journal());
    // As the documentation says.
    machine.run_as_alice_ok(&[
        PROGRAM,
        "status",
        "--config",
        "/home/alice/.config/imap-to-gmail-sync",
        "--state-folder",
        "/home/alice/.local/state/imap-to-gmail-sync",
    ]);
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn a_user_gets_a_notice_at_the_beginning_and_the_end_of_an_outage() {
    let home = Home::new();
    let image = image(&home, &["alice"]);
    image.edit(
        "user/imap-to-gmail-sync-status@.service",
        "sleep 120",
        "sleep 0",
    );
    let machine = boot(image);
    let start = |unit: &str| systemctl(&machine, &["start", unit]);
    let status = "imap-to-gmail-sync-status@alice.service";
    let check = |expected| {
        assert_eq!(start(status), Some(expected));
        machine.wait_until("the end of all jobs", || {
            let jobs = ["systemctl", "--user", "list-jobs", "--no-legend"];
            machine.run_as_alice_ok(&jobs).is_empty()
        });
    };
    assert_eq!(start("imap-to-gmail-sync@alice.service"), Some(0));
    check(0);
    let lock = "/home/alice/.local/state/imap-to-gmail-sync/alice/sync_state.json.lock";
    machine.run_as_alice_ok(&["touch", "--date=2 hours ago", lock]);
    for _ in 0..3 {
        check(1);
    }
    assert_eq!(machine.count("NOT WELL"), 1);
    assert_eq!(start("imap-to-gmail-sync@alice.service"), Some(0));
    for _ in 0..3 {
        check(0);
    }
    assert_eq!(machine.count("copied to Gmail again"), 1);
}

#[test]
#[ignore = "it boots a systemd; contrib/test runs it where that is permitted"]
fn the_folder_of_the_original_goes_on_by_a_drop_in() {
    let home = Home::new();
    home.configure(&json!({ "target_token_file": "alice-token.json" }));
    let image = Image::new();
    let folder = "home/alice/imap-to-gmail-sync";
    let config = home.read("config.json");
    image.write(&format!("{folder}/alice-config.json"), &config, 0o600);
    image.write(
        &format!("{folder}/alice-token.json"),
        &home.read("token.json"),
        0o600,
    );
    for file in ["source.pem", "gmail.pem"] {
        image.write(&format!("{folder}/{file}"), &home.read(file), 0o600);
    }
    let drop_in = ".config/systemd/user/imap-to-gmail-sync-watch@.service.d/folder.conf";
    let text = documented_drop_in(&format!("~/{drop_in}"));
    image.write(&format!("home/alice/{drop_in}"), &text, 0o644);
    let machine = boot(image);
    deliver(&home, 0);
    let watcher = "imap-to-gmail-sync-watch@alice.service";
    assert_eq!(systemctl(&machine, &["enable", "--now", watcher]), Some(0));
    machine.wait_until("the message", || arrived(&home) == 1);
    assert_eq!(systemctl(&machine, &["stop", watcher]), Some(0));
    let state = format!("/{folder}/alice-sync_state.json");
    machine.run_as_alice_ok(&["test", "-s", &state]);
    machine.run_as_alice_ok(&["test", "!", "-e", "/home/alice/.local/state"]);
}
