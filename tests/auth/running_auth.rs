//! `auth` as a child process, and a browser that is a simple HTTP client.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Home, Run, program};

/// Only a test that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A running `auth`.
pub struct RunningAuth {
    child: Child,
    stdin: Option<ChildStdin>,
    feeder: Option<Child>,
    output: Arc<Output>,
    reader_thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Output {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// The `auth` command in this home, with its configuration.
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
    fs::remove_file(home.path("token.json")).unwrap();
    home
}

impl RunningAuth {
    pub fn start(command: &mut Command) -> RunningAuth {
        RunningAuth::begin(command, Stdio::piped(), None)
    }

    /// The same with the output of `feeder` as its standard input.
    pub fn start_with(command: &mut Command, mut feeder: Child) -> RunningAuth {
        let fed = feeder.stdout.take().unwrap();
        RunningAuth::begin(command, fed.into(), Some(feeder))
    }

    fn begin(command: &mut Command, stdin: Stdio, feeder: Option<Child>) -> RunningAuth {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let (out, to) = (child.stdout.take().unwrap(), Arc::clone(&output));
        let reader_thread = thread::spawn(move || to.listen(out));
        RunningAuth {
            stdin: child.stdin.take(),
            child,
            feeder,
            output,
            reader_thread: Some(reader_thread),
        }
    }

    /// Waits until its output contains `text`; returns the output so far.
    pub fn wait_for(&self, text: &str) -> String {
        self.output.wait_for(text)
    }

    /// The address that the user shall open.
    pub fn address(&self) -> String {
        let output = self.wait_for("This waits for");
        let line = output.lines().find(|line| line.starts_with("  http"));
        line.unwrap().trim().to_owned()
    }

    /// Types a line.
    pub fn paste(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    pub fn kill(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(killed.success());
    }

    pub fn wait_for_exit(mut self) -> Run {
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{}", self.output.so_far());
            thread::sleep(Duration::from_millis(5));
        };
        let mut stderr = String::new();
        let mut from = self.child.stderr.take().unwrap();
        from.read_to_string(&mut stderr).unwrap();
        self.reader_thread.take().unwrap().join().unwrap();
        Run {
            status: status.code(),
            stdout: self.output.so_far(),
            stderr,
        }
    }
}

impl Drop for RunningAuth {
    fn drop(&mut self) {
        for child in std::iter::once(&mut self.child).chain(&mut self.feeder) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Output {
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
        let deadline = Instant::now() + TIMEOUT;
        let mut output = self.text.lock().unwrap();
        while !output.0.contains(text) {
            assert!(!output.1, "it ended without {text:?}: {}", output.0);
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in time: {}", output.0);
            output = self.more.wait_timeout(output, left).unwrap().0;
        }
        output.0.clone()
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().0.clone()
    }
}

/// Requests this address.
pub fn get(url: &str) -> Response {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    send_request(
        host,
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    )
}

/// Sends these octets to a host and reads the response.
pub fn send_request(host: &str, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
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
    Response {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: String::from_utf8(body).unwrap(),
        head,
    }
}

/// Opens the consent page, whose user decides at once; returns the address that Google redirects to.
pub fn redirect_of(address: &str) -> String {
    let response = get(address);
    assert_eq!(response.status, 302, "{response:?}");
    let line = response.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then_some(value)
    });
    line.unwrap().to_owned()
}

/// Opens the consent page, follows the redirect and returns the page of `auth`.
pub fn consent(address: &str) -> Response {
    get(&redirect_of(address))
}

impl Response {
    pub fn title(&self) -> &str {
        let begin = self.body.find("<title>").unwrap() + "<title>".len();
        let end = self.body.find("</title>").unwrap();
        &self.body[begin..end]
    }
}

pub fn token(home: &Home) -> Value {
    serde_json::from_str(&home.read("token.json")).unwrap()
}

/// All files of a home, with their content.
pub fn files(home: &Home) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(home.path(""))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Asserts this exit status and exactly this error line.
pub fn assert_failed(run: &Run, status: i32, line: &str) {
    assert_eq!(run.status, Some(status), "{run:?}");
    assert_eq!(run.stderr, format!("{line}\n"), "{run:?}");
}

/// Asserts that the home has no token file and no temporary file.
pub fn assert_nothing_saved(home: &Home) {
    let names: Vec<String> = files(home).into_keys().collect();
    let expected = [
        "client_secret.json",
        "config.json",
        "gmail.pem",
        "source.pem",
    ];
    assert_eq!(names, expected);
}

pub fn field<'a>(address: &'a str, name: &str) -> &'a str {
    let query = address.split_once('?').unwrap().1;
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    value.unwrap()
}

/// The port of the redirect URI.
pub fn port_in(address: &str) -> &str {
    let back = field(address, "redirect_uri");
    back.rsplit_once("%3A").unwrap().1.trim_end_matches("%2F")
}
