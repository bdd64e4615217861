//! A demonstration that needs only Rust and a C compiler.
//!
//! Starts doubles of a mail server and of Gmail on loopback, runs the program twice, and prints what
//! arrived: each message once. With `--keep` the servers stay, to be tried by hand; with `--servers` there is
//! nothing else than the servers.

// A demonstration fails by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mail;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use double::{Gmail, GmailOptions, Source, SourceOptions, StoredMessage, TokenEndpoint};
use imap_to_gmail_sync::config::Environment;
use serde_json::json;

/// With this as its first argument the demonstration is the program itself.
const AS_PROGRAM: &str = "as-program";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|word| word == AS_PROGRAM).is_some() {
        return imap_to_gmail_sync::run(arguments, &Environment::default());
    }
    let words: Vec<_> = arguments.collect();
    let has = |option: &str| words.iter().any(|word| word == option);
    demonstrate(has("--servers"), has("--keep"))
}

fn demonstrate(servers_only: bool, keep: bool) -> ExitCode {
    let source = Source::start(SourceOptions::default());
    let gmail = Gmail::start(GmailOptions::default());
    let endpoint = TokenEndpoint::start(&gmail);
    mail::deliver(&source);
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_files(folder.path(), &source, &gmail, &endpoint);
    if servers_only {
        keep_running(folder.path());
        return ExitCode::SUCCESS;
    }

    let in_mailbox = source.messages("INBOX").len();
    println!(
        "A mail server with {in_mailbox} messages of the last week, and an empty Gmail account,"
    );
    println!("both simulated on this machine. The program runs for the first time:\n");
    if !run(folder.path()) {
        return ExitCode::FAILURE;
    }
    let first = gmail.messages("INBOX");
    println!("\nGmail now has:\n");
    for stored in &first {
        println!("{}", describe(stored));
    }
    println!("\nThe program runs for the second time, and logs nothing:\n");
    if !run(folder.path()) {
        return ExitCode::FAILURE;
    }
    let second = gmail.messages("INBOX");
    let unchanged = source
        .messages("INBOX")
        .iter()
        .filter(|stored| is_in_gmail(stored, &second))
        .count();
    println!(
        "\nGmail had {} messages before and has {} now.",
        first.len(),
        second.len()
    );
    println!("{unchanged} of {in_mailbox} are there octet for octet, with their dates and flags.");
    if keep {
        keep_running(folder.path());
    }
    let is_correct = unchanged == in_mailbox && first.len() == second.len();
    if is_correct {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Writes the configuration, the token and the CA files.
fn write_files(folder: &Path, source: &Source, gmail: &Gmail, endpoint: &TokenEndpoint) {
    let config = json!({
        "source_server": "localhost",
        "source_port": source.port(),
        "source_user": "user",
        "source_pass": "secret",
        "source_ca_file": "mail-server.pem",
        "target_user": gmail.user(),
        "target_token_file": "token.json",
        "target_server": "localhost",
        "target_port": gmail.port(),
        "target_ca_file": "gmail.pem",
    });
    let config = serde_json::to_string_pretty(&config).expect("JSON");
    for (name, text) in [
        ("config.json", config.as_str()),
        ("token.json", &endpoint.token_json(&gmail.user())),
        ("mail-server.pem", source.ca_pem()),
        ("gmail.pem", gmail.ca_pem()),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
}

/// Runs the program with its log on this terminal; returns whether it succeeded.
fn run(folder: &Path) -> bool {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program)
        .args([AS_PROGRAM, "--config", "config.json"])
        .current_dir(folder)
        .status()
        .expect("the program starts");
    if !status.success() {
        eprintln!("\nThe program ended with {status}.");
    }
    status.success()
}

/// Whether a message of the source is in Gmail, unchanged.
fn is_in_gmail(stored: &StoredMessage, gmail: &[StoredMessage]) -> bool {
    gmail.iter().any(|there| {
        there.octets == stored.octets
            && there.internal_date == stored.internal_date
            && there.flags == stored.flags
    })
}

fn describe(stored: &StoredMessage) -> String {
    let subject = String::from_utf8_lossy(&stored.octets)
        .lines()
        .take_while(|describe| !describe.is_empty())
        .find_map(|describe| describe.strip_prefix("Subject: ").map(str::to_owned))
        .unwrap_or_else(|| "(no subject)".to_owned());
    let date = stored.internal_date.format("%a %d %b %H:%M");
    let size = stored.octets.len();
    let flags = stored.flags.join(" ");
    format!(
        "{:>4}  {date}  {size:>8}  {subject:<46.46}  {flags}",
        stored.uid
    )
}

/// Keeps the servers running, and prints how to try them by hand.
fn keep_running(folder: &Path) {
    let folder = folder.display();
    println!(
        "\nThe servers stay until you press Enter. To try by hand, in another terminal here:\n"
    );
    println!(
        "    cargo run --release -- --config {folder}/config.json --state-file {folder}/sync_state.json"
    );
    println!("    ... --dry-run     prints what it would copy");
    println!("    ... --debug       logs every step");
    println!("\nAll its files are in {folder}.");
    let mut describe = String::new();
    let _ = std::io::stdin().read_line(&mut describe);
}
