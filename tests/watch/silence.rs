//! Packets that vanish during IDLE: no response and no reset, as behind a router that forgot the
//! connection. The test runs itself in network namespaces of its own, where it can drop packets.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::{Password, SourceConfig};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::scripted_server::{OPEN_INBOX, ScriptedServer, loopback};
use crate::session::NOOP_AND_IDLE;

/// The parts of the test, each run in a network namespace of its own.
const CLIENT: &str = "silence::the_client_in_a_network_of_its_own";
const SERVER: &str = "silence::the_server_in_a_network_of_its_own";

/// Set in such a namespace; elsewhere the parts do nothing.
const APART: &str = "IN_A_NETWORK_OF_ITS_OWN";

fn is_in_namespace() -> bool {
    std::env::var_os(APART).is_some()
}

/// Runs one test of this binary in a new network namespace.
fn in_namespace(test: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .env(APART, "1")
        .args(["--net", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"]);
    command
}

#[test]
fn packets_that_vanish_while_an_idle_is_on_are_noticed() {
    let tools = [
        "unshare --net --map-root-user true",
        "unshare --net --map-root-user ip link add v0 type veth peer name v1",
        "nsenter --version",
    ];
    let mut missing = tools.iter().filter(|line| !works(line));
    if let Some(missing) = missing.next() {
        eprintln!("SKIPPED: this does not work here: {missing}");
        return;
    }
    let run = in_namespace(CLIENT).output().unwrap();
    let output = [run.stdout, run.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    assert!(
        run.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

fn works(line: &str) -> bool {
    let mut words = line.split(' ');
    let run = Command::new(words.next().unwrap()).args(words).output();
    run.is_ok_and(|run| run.status.success())
}

fn run(line: &str) {
    assert!(works(line), "{line}");
}

/// Connects this namespace to the server's. The server gets a loopback address, to which plain text
/// is allowed; its namespace has no loopback device.
fn connect(server: u32) {
    let there = format!("nsenter --net=/proc/{server}/ns/net");
    run("ip link add v0 type veth peer name v1");
    run(&format!("ip link set v1 netns {server}"));
    for (prefix, device, address) in [
        ("", "v0", "127.0.0.2/8"),
        (&format!("{there} "), "v1", "127.0.0.1/8"),
    ] {
        let set = format!("net.ipv4.conf.{device}.route_localnet=1");
        run(&format!("{prefix}sysctl -w {set}"));
        run(&format!("{prefix}ip addr add {address} dev {device}"));
        run(&format!("{prefix}ip link set {device} up"));
    }
}

#[test]
#[ignore = "another test runs it in a network namespace"]
fn the_client_in_a_network_of_its_own() {
    if !is_in_namespace() {
        return;
    }
    let mut server = in_namespace(SERVER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut wait_for = |word: &str| {
        output
            .find_map(|line| line.unwrap().strip_prefix(word).map(str::to_owned))
            .unwrap()
    };
    wait_for("apart");
    connect(server.id());
    writeln!(server.stdin.as_mut().unwrap(), "connected").unwrap();
    let port = wait_for("port ").parse().unwrap();
    let canceller = Canceller::new().unwrap();
    let options = ConnectionOptions {
        timeouts: Timeouts {
            silence: Duration::from_secs(6),
            ..Timeouts::default()
        },
        canceller: canceller.clone(),
        ..ConnectionOptions::default()
    };
    let password = Secret::new("secret".to_owned());
    let config = SourceConfig {
        server: loopback(port),
        user: "alice".to_owned(),
        password: Password::Given(password.clone()),
        folder: "INBOX".to_owned(),
    };
    let (mut source, _) = ImapSource::open(&config, password, options).unwrap();
    let wait = || WaitOptions {
        use_idle: true,
        poll_interval: Duration::from_mins(1),
        until: Instant::now() + Duration::from_mins(1),
    };
    canceller.wake();
    assert_eq!(
        source.wait_for_mail(wait()).unwrap(),
        WaitOutcome::Woken,
        "it idles now"
    );
    // Without its address the server drops every packet.
    run(&format!(
        "nsenter --net=/proc/{}/ns/net ip addr del 127.0.0.1/8 dev v1",
        server.id()
    ));
    let ended = source.wait_for_mail(wait());
    server.kill().unwrap();
    server.wait().unwrap();
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("waiting for new mail"), "{error}");
}

#[test]
#[ignore = "another test runs it in a network namespace"]
fn the_server_in_a_network_of_its_own() {
    if !is_in_namespace() {
        return;
    }
    println!("\napart");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &["S: + idling", "silence"]]);
    println!("port {}", server.address().port);
    drop(server);
    // The client kills this process.
    std::thread::sleep(Duration::from_mins(2));
}
