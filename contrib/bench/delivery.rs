//! The time from the source's notice of a new message until the message is visible at the target.
//!
//! Both are seen by clients of this process without delay.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::dovecot::PASSWORD;
use crate::figures::Deliveries;
use crate::mail::{Generator, Kind};
use crate::programs::{Account, Candidate};
use crate::servers::{Servers, number_after, status};
use crate::works::{Extent, Work};

/// Only a measurement that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Between two messages: long enough for the program to be in IDLE again, and shorter than the time after
/// which it closes a connection to the target.
const PAUSE: Duration = Duration::from_millis(700);

/// The size of each message.
const OCTETS: usize = 15_500;

pub fn measure(work: &Work, servers: &mut Servers, extent: &Extent) -> Deliveries {
    let line = servers.line(work.round_trip());
    let mailbox = servers.mailbox(Kind::Ordinary, 0);
    let candidate = Candidate::Ours { connections: 4 };
    let account = Account::open(servers, candidate, extent.program, extent.files);
    account.configure(servers, &mailbox, &line);
    let mut watcher = account.watch_command().spawn().expect("the program starts");
    let notices = notices(servers.source.server_in_plain_text().port, &mailbox.user);
    let mut source = servers.source.client(&mailbox.user);
    let mut target = servers.target.client(&account.target_user);
    let mut generator = Generator::new();
    // The first pass, which only sets a cursor, ends before the first message arrives.
    wait_for(|| account.output().contains("watching"), &account);

    let mut times = Vec::new();
    for number in 0..=work.messages(extent) {
        let message = generator.message(OCTETS);
        source.append("INBOX", "", "", &message);
        let told = notices.recv_timeout(TIMEOUT).expect("the source's notice");
        wait_for(
            || {
                let response = status(&mut target, "MESSAGES");
                number_after(&response, "MESSAGES ") == number as u64 + 1
            },
            &account,
        );
        // The first one waits for the log-in at the target.
        if number > 0 {
            times.push(told.elapsed());
        }
        std::thread::sleep(PAUSE);
    }
    let terminated = std::process::Command::new("kill")
        .arg(watcher.id().to_string())
        .status();
    assert!(terminated.is_ok_and(|status| status.success()));
    let status = watcher.wait().expect("the program ends");
    assert!(status.success(), "{status}: {}", account.output());
    eprintln!("{}: {times:.1?}", work.name);
    Deliveries {
        round_trip: work.round_trip(),
        times,
    }
}

fn wait_for(mut condition: impl FnMut() -> bool, account: &Account) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{}", account.output());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The times at which the source tells a client in IDLE of a new message.
fn notices(port: u16, user: &str) -> Receiver<Instant> {
    let (sender, receiver) = channel();
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the source accepts");
    let mut reader = BufReader::new(stream);
    let credentials = STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    let mut wait_for_line = |command: &str, response: &str| {
        if !command.is_empty() {
            let command = format!("{command}\r\n");
            let written = reader.get_mut().write_all(command.as_bytes());
            written.expect("the source reads");
        }
        let mut line = String::new();
        while !line.starts_with(response) {
            line.clear();
            let length = reader.read_line(&mut line).expect("the source responds");
            assert!(length > 0, "the source closed the connection");
        }
    };
    wait_for_line("", "* OK");
    wait_for_line(&format!("a AUTHENTICATE PLAIN {credentials}"), "a OK");
    wait_for_line("b EXAMINE INBOX", "b OK");
    wait_for_line("c IDLE", "+");
    std::thread::spawn(move || {
        for line in reader.lines() {
            let now = Instant::now();
            if line.is_ok_and(|line| line.ends_with("EXISTS")) && sender.send(now).is_err() {
                return;
            }
        }
    });
    receiver
}
