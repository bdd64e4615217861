//! systemd: notifications of readiness, status and watchdog.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use double::Fault;
use rustix::process::Signal;
use serde_json::json;

use crate::program::Home;
use crate::watching::{Watching, deliver};

/// The program under a service manager; the test reads its notifications.
struct Service {
    watching: Watching,
    socket: UnixDatagram,
}

impl Service {
    fn start(home: &Home, watchdog: Duration) -> Service {
        let path = home.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut command = Command::new("sh");
        command
            .current_dir(home.path("."))
            .arg("-c")
            .arg("WATCHDOG_PID=$$ exec \"$0\" --config config.json --watch")
            .arg(env!("CARGO_BIN_EXE_imap-to-gmail-sync"))
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Service {
            watching: Watching::spawn(command),
            socket,
        }
    }

    fn receive(&self) -> String {
        let mut octets = [0; 4096];
        let length = self.socket.recv(&mut octets).unwrap();
        String::from_utf8_lossy(&octets[..length]).trim().to_owned()
    }

    /// The notifications up to the one that contains `word`, without those of the watchdog.
    fn receive_up_to(&self, word: &str) -> Vec<String> {
        let mut received = Vec::new();
        // Those of the watchdog would keep `receive` from timing out.
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            assert!(Instant::now() < deadline, "no {word}: {received:?}");
            let text = self.receive();
            if text != "WATCHDOG=1" {
                received.push(text.clone());
            }
            if text.contains(word) {
                return received;
            }
        }
    }
}

#[test]
fn systemd_gets_ready_and_each_status_in_order() {
    let home = Home::new();
    deliver(&home, 0);
    let service = Service::start(&home, Duration::from_mins(1));
    let logging_in = format!("STATUS=logging in to localhost:{}", home.source.port());
    assert_eq!(
        service.receive_up_to("watching"),
        [
            "READY=1",
            &logging_in,
            "STATUS=copying new mail",
            "STATUS=watching INBOX; 1 copied since the start"
        ]
    );
    // A check that finds nothing does not report copying.
    service.watching.signal(Signal::USR1);
    assert_eq!(
        service.receive_up_to("watching"),
        ["STATUS=watching INBOX; 1 copied since the start"]
    );
    service.watching.signal(Signal::TERM);
    assert_eq!(service.receive_up_to("STOPPING"), ["STOPPING=1"]);
    assert_eq!(service.watching.wait_for_exit().status, Some(0));
}

#[test]
fn a_server_that_is_down_does_not_delay_ready_and_the_status_names_it() {
    let mut home = Home::new();
    home.source.stop();
    let service = Service::start(&home, Duration::from_mins(1));
    let received = service.receive_up_to("waiting");
    assert_eq!(received[0], "READY=1", "{received:?}");
    let waiting = format!(
        "STATUS=waiting for localhost:{}: connecting: ",
        home.source.port()
    );
    assert!(received[2].starts_with(&waiting), "{received:?}");
    home.source.restart();
    let received = service.receive_up_to("watching");
    assert!(!received.contains(&"READY=1".to_owned()), "{received:?}");
}

#[test]
fn a_configuration_or_state_that_is_wrong_or_locked_is_not_ready() {
    let not_ready = |home: &Home, status| {
        let service = Service::start(home, Duration::from_mins(1));
        assert_eq!(service.watching.wait_for_exit().status, Some(status));
        service.socket.set_nonblocking(true).unwrap();
        let mut octets = [0; 4096];
        while let Ok(length) = service.socket.recv(&mut octets) {
            assert_eq!(&octets[..length], b"WATCHDOG=1\n");
        }
        fs::remove_file(home.path("notify")).unwrap();
    };
    let home = Home::new();
    deliver(&home, 0);
    let holder = Watching::start(&home);
    holder.wait_for("1 copied");
    not_ready(&home, 0);
    drop(holder);
    // The state is another account's.
    home.configure(&json!({ "source_user": "bob" }));
    not_ready(&home, 78);
    home.configure(&json!({ "source_port": "imaps" }));
    not_ready(&home, 78);
}

#[test]
fn the_watchdog_is_fed_while_a_server_hangs() {
    let home = Home::new();
    deliver(&home, 0);
    home.source
        .faults()
        .always(|event| event.is_command("UID FETCH"), Fault::Stall);
    let service = Service::start(&home, Duration::from_millis(200));
    service.receive_up_to("READY=1");
    service.watching.wait_until("the stall", || {
        let commands = home.source.commands();
        commands.iter().any(|it| it.starts_with("UID FETCH"))
    });
    let notifications = (0..40)
        .filter(|_| service.receive() == "WATCHDOG=1")
        .count();
    assert!(notifications > 20, "{notifications}");
}
