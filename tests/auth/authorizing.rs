//! `auth` as a person uses it: the program at a terminal, and a browser of a few lines.

// Each test uses its own part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::program::{Home, Run, program};

/// Nothing here takes so long.
const LIMIT: Duration = Duration::from_mins(1);

/// A running `auth`.
pub struct Authorizing {
    child: Child,
    stdin: Option<ChildStdin>,
    feeder: Option<Child>,
    heard: Arc<Heard>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

/// What a browser got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// The command line of `auth` in this home, with its configuration.
pub fn auth(home: &Home) -> Command {
    home.write("client_secret.json", &home.endpoint.client_secret_json());
    let mut command = auth_alone(home);
    command.args(["--config", "config.json"]);
    command
}

/// The same without a configuration.
pub fn auth_alone(home: &Home) -> Command {
    home.write("client_secret.json", &home.endpoint.client_secret_json());
    let mut command = program(&home.path(""));
    command.args(["auth", "--credentials", "client_secret.json"]);
    command
}

/// A home that has no token yet.
pub fn home() -> Home {
    let home = Home::new();
    std::fs::remove_file(home.path("token.json")).unwrap();
    home
}

impl Authorizing {
    pub fn start(command: &mut Command) -> Authorizing {
        Authorizing::begin(command, Stdio::piped(), None)
    }

    /// The same, fed by another program.
    pub fn start_with(command: &mut Command, mut feeder: Child) -> Authorizing {
        let fed = feeder.stdout.take().unwrap();
        Authorizing::begin(command, fed.into(), Some(feeder))
    }

    fn begin(command: &mut Command, stdin: Stdio, feeder: Option<Child>) -> Authorizing {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let heard = Arc::new(Heard::default());
        let (out, to) = (child.stdout.take().unwrap(), Arc::clone(&heard));
        let listener = thread::spawn(move || to.listen(out));
        Authorizing {
            stdin: child.stdin.take(),
            child,
            feeder,
            heard,
            listener: Some(listener),
        }
    }

    /// Waits until it has said this.
    pub fn wait_for(&self, text: &str) -> String {
        self.heard.wait_for(text)
    }

    /// The address that the person is to open.
    pub fn address(&self) -> String {
        let said = self.wait_for("This waits for");
        let line = said.lines().find(|line| line.starts_with("  http"));
        line.unwrap().trim().to_owned()
    }

    /// Types a line.
    pub fn paste(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(killed.success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{}", self.heard.so_far());
            thread::sleep(Duration::from_millis(5));
        };
        let mut stderr = String::new();
        let mut from = self.child.stderr.take().unwrap();
        from.read_to_string(&mut stderr).unwrap();
        self.listener.take().unwrap().join().unwrap();
        Run {
            status: status.code(),
            stdout: self.heard.so_far(),
            stderr,
        }
    }
}

impl Drop for Authorizing {
    fn drop(&mut self) {
        for child in std::iter::once(&mut self.child).chain(&mut self.feeder) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Heard {
    fn listen(&self, mut from: impl Read) {
        let mut piece = [0; 1024];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let text = String::from_utf8_lossy(&piece[..length]);
            self.text.lock().unwrap().0.push_str(&text);
            self.more.notify_all();
        }
        self.text.lock().unwrap().1 = true;
        self.more.notify_all();
    }

    fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut heard = self.text.lock().unwrap();
        while !heard.0.contains(text) {
            assert!(!heard.1, "it ended without {text:?}: {}", heard.0);
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in time: {}", heard.0);
            heard = self.more.wait_timeout(heard, left).unwrap().0;
        }
        heard.0.clone()
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().0.clone()
    }
}

/// What a browser gets at this address.
pub fn get(url: &str) -> Got {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    ask(
        host,
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    )
}

/// What these octets are answered.
pub fn ask(host: &str, request: &[u8]) -> Got {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head
        .to_ascii_lowercase()
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Got {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: String::from_utf8(body).unwrap(),
        head,
    }
}

/// Where Google sends the browser that opens this address and whose person decides at once.
pub fn sent_back_to(address: &str) -> String {
    let got = get(address);
    assert_eq!(got.status, 302, "{got:?}");
    let line = got.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then_some(value)
    });
    line.unwrap().to_owned()
}

/// Opens the address, consents, and gives the page that the browser lands on.
pub fn consent(address: &str) -> Got {
    get(&sent_back_to(address))
}

impl Got {
    pub fn title(&self) -> &str {
        let begin = self.body.find("<title>").unwrap() + "<title>".len();
        let end = self.body.find("</title>").unwrap();
        &self.body[begin..end]
    }
}
