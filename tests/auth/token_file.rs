//! The token file: where it is saved, and when it is replaced.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use double::Consent;
use serde_json::json;

use crate::program::Home;
use crate::running_auth::{RunningAuth, assert_failed, auth, auth_alone, consent, home, token};

#[test]
fn the_token_is_saved_where_the_command_line_or_the_configuration_says() {
    let home = home();
    home.configure(&json!({ "target_token_file": "of-config.json" }));
    let cases = [
        (auth(&home), "of-config.json"),
        (auth_alone(&home), "token.json"),
    ];
    for (mut command, file) in cases {
        let running = RunningAuth::start(&mut command);
        consent(&running.address());
        assert_eq!(running.wait_for_exit().status, Some(0));
        assert!(home.path(file).exists(), "{file}");
    }
    let running = RunningAuth::start(auth(&home).args(["--token", "of-option.json"]));
    let page = consent(&running.address());
    assert_eq!(running.wait_for_exit().status, Some(0));
    assert!(home.path("of-option.json").exists());
    assert_eq!(page.title(), "Mail can now be copied to user@gmail.com");
}

#[test]
fn a_token_file_is_replaced_only_on_request_and_never_by_a_failure() {
    let home = home();
    let old = r#"{"refresh_token":"old","client_id":"x"}"#;
    home.write("token.json", old);
    assert_failed(
        &RunningAuth::start(&mut auth(&home)).wait_for_exit(),
        64,
        "token.json: exists already, and stays as it is; to replace it, add --force",
    );
    for options in [Consent::Denied, Consent::Only("openid".to_owned())] {
        home.endpoint.change(|change| change.consent = options);
        let running = RunningAuth::start(auth(&home).arg("--force"));
        consent(&running.address());
        assert_eq!(running.wait_for_exit().status, Some(77));
        assert_eq!(home.read("token.json"), old);
    }
    home.endpoint
        .change(|options| options.consent = Consent::Given);
    let running = RunningAuth::start(auth(&home).arg("--force"));
    consent(&running.address());
    assert_eq!(running.wait_for_exit().status, Some(0));
    assert_ne!(token(&home)["refresh_token"], "old");
}

/// Runs `auth` at a terminal, by script(1), and types `answer` when it asks whether to replace.
fn at_a_terminal(home: &Home, answer: &str) -> String {
    let mut command = auth(home);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    command = Command::new("script");
    command
        .args([
            "--quiet",
            "--return",
            "--command",
            &words.join(" "),
            "/dev/null",
        ])
        .current_dir(home.path(""));
    let mut running = RunningAuth::start(&mut command);
    running.wait_for("exists already. Replace it, if all goes well? [y/N]");
    running.paste(answer);
    if answer == "y" {
        let address = running.address();
        consent(&address);
    }
    running.wait_for_exit().stdout
}

#[test]
fn at_a_terminal_the_user_is_asked_whether_to_replace() {
    let home = home();
    home.write("token.json", "{}");
    let output = at_a_terminal(&home, "");
    assert!(
        output.contains("exists already, and stays as it is"),
        "{output}"
    );
    assert_eq!(home.read("token.json"), "{}");
    at_a_terminal(&home, "y");
    assert!(token(&home)["refresh_token"].is_string());
}

/// Only root can change the owner, and only root has to.
#[test]
fn a_token_file_keeps_its_owner_when_root_replaces_it() {
    let home = home();
    home.write("token.json", "{}");
    if std::os::unix::fs::chown(home.path("token.json"), Some(12_345), Some(12_346)).is_err() {
        assert_ne!(fs::metadata("/proc/self").unwrap().uid(), 0);
        return;
    }
    let running = RunningAuth::start(auth(&home).arg("--force"));
    consent(&running.address());
    assert_eq!(running.wait_for_exit().status, Some(0));
    let known = fs::metadata(home.path("token.json")).unwrap();
    assert_eq!(
        (known.uid(), known.gid(), known.mode() & 0o777),
        (12_345, 12_346, 0o600)
    );
}

#[test]
fn a_token_that_cannot_be_saved_is_noticed_before_the_user_is_asked() {
    let home = home();
    let run = RunningAuth::start(auth(&home).args(["--token", "none/token.json"])).wait_for_exit();
    assert_failed(
        &run,
        74,
        "none/token.json: checking whether the token can be saved: the folder none does not exist; \
         type: mkdir -p none",
    );
    let run = RunningAuth::start(auth(&home).args(["--token", "."])).wait_for_exit();
    assert_eq!(run.status, Some(64));
    assert!(home.endpoint.visits().is_empty());
}
