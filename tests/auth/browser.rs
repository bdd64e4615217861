//! A real browser without a window: Chromium, driven over `WebDriver` (W3C).

#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Only a test that fails waits as long.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The key of an element in a response of `WebDriver`.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with an empty profile of its own; it ends when this is dropped, or when the test process
/// ends.
pub struct Browser {
    driver: Driver,
    session: String,
    _profile: TempDir,
}

/// A window or a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab(String);

/// The colour scheme that the user prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Light,
    Dark,
}

/// An entry of the browser's log: errors of scripts, resources that could not be loaded, violations of
/// the page's Content-Security-Policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `SEVERE`, `WARNING` or `INFO`.
    pub level: String,
    /// `network`, `security`, `javascript` and the like.
    pub source: String,
    pub message: String,
}

impl Browser {
    /// Starts Chromium on an empty page.
    pub fn start() -> Browser {
        Browser::begin("normal")
    }

    /// The same, but commands do not wait for a page to be loaded: for pages that load only later.
    pub fn start_impatient() -> Browser {
        Browser::begin("none")
    }

    fn begin(page_load_strategy: &str) -> Browser {
        require_program("chromium", "chromium");
        require_program("chromedriver", "chromium-driver");
        let profile = tempfile::tempdir().unwrap();
        let driver = Driver::start(profile.path());
        let folder = profile.path().join("profile");
        let capabilities = json!({ "alwaysMatch": {
            "browserName": "chrome",
            "pageLoadStrategy": page_load_strategy,
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-breakpad",
                "--window-size=900,700", format!("--user-data-dir={}", folder.display()),
            ] },
        } });
        let session = driver.command("POST", "/session", &json!({ "capabilities": capabilities }));
        let session = session.unwrap_or_else(|why| panic!("Chromium does not start: {why}"));
        Browser {
            session: session["sessionId"].as_str().unwrap().to_owned(),
            driver,
            _profile: profile,
        }
    }

    /// Opens an address and waits until it is loaded; fails the test if it cannot be loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The current tab.
    pub fn tab(&self) -> Tab {
        Tab(self.get_text("/window"))
    }

    /// Opens another tab and switches to it.
    pub fn open_tab(&self) -> Tab {
        let opened = self.post("/window/new", &json!({ "type": "tab" }));
        let tab = Tab(opened["handle"].as_str().unwrap().to_owned());
        self.switch_to(&tab);
        tab
    }

    pub fn switch_to(&self, tab: &Tab) {
        self.post("/window", &json!({ "handle": tab.0 }));
    }

    pub fn url(&self) -> String {
        self.get_text("/url")
    }

    pub fn title(&self) -> String {
        self.get_text("/title")
    }

    /// The visible text of the page.
    pub fn text(&self) -> String {
        let body = self.element("body").unwrap();
        self.get_text(&format!("/element/{body}/text"))
    }

    /// The current source of the page.
    pub fn source(&self) -> String {
        self.get_text("/source")
    }

    /// Waits for the element of a CSS selector, clicks it, and waits for the page that this may open.
    pub fn click(&self, css: &str) {
        let element = self.wait_for_element(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Replaces the content of a field.
    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.wait_for_element(css);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        let path = format!("/element/{element}/value");
        self.post(&path, &json!({ "text": text }));
    }

    /// The content of a field.
    pub fn value_of(&self, css: &str) -> String {
        let element = self.wait_for_element(css);
        self.get_text(&format!("/element/{element}/property/value"))
    }

    /// Whether the element exists and is visible.
    pub fn is_shown(&self, css: &str) -> bool {
        self.element(css).is_some_and(|element| {
            let path = format!("/element/{element}/displayed");
            self.get(&path).as_bool().unwrap()
        })
    }

    /// Runs JavaScript in the page as a function's body; returns its value.
    pub fn run_script(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    pub fn prefers(&self, colours: Colours) {
        let value = match colours {
            Colours::Light => "light",
            Colours::Dark => "dark",
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.post(
            "/goog/cdp/execute",
            &json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } }),
        );
    }

    /// Saves a screenshot as a PNG file.
    pub fn screenshot(&self, path: &Path) {
        let image = self.get_text("/screenshot");
        fs::write(path, STANDARD.decode(image).unwrap()).unwrap();
    }

    /// The log entries since the last call.
    pub fn console(&self) -> Vec<Logged> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|entry| Logged {
                level: text(entry, "level"),
                source: text(entry, "source"),
                message: text(entry, "message"),
            })
            .collect()
    }

    /// Waits until `condition` holds; `what` names it in the failure.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Browser) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "the browser does not reach the point where {what}; it is at {} and shows {:?}",
                self.url(),
                self.text()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait_for_title(&self, title: &str) {
        let what = format!("the title is {title:?}");
        self.wait_until(&what, |browser| browser.title() == title);
    }

    /// Waits for an address with this prefix.
    pub fn wait_for_url(&self, beginning: &str) {
        let what = format!("the address begins with {beginning}");
        self.wait_until(&what, |browser| browser.url().starts_with(beginning));
    }

    /// Waits for a page whose text contains `part`.
    pub fn wait_for_text(&self, part: &str) {
        let what = format!("the text has {part:?}");
        let has_it = format!(
            "return document.body !== null && document.body.innerText.includes({})",
            json!(part)
        );
        self.wait_until(&what, |browser| browser.run_script(&has_it) == json!(true));
    }

    fn wait_for_element(&self, css: &str) -> String {
        self.wait_until(&format!("there is {css}"), |browser| {
            browser.element(css).is_some()
        });
        self.element(css).unwrap()
    }

    fn element(&self, css: &str) -> Option<String> {
        let query = json!({ "using": "css selector", "value": css });
        let found = self.post("/elements", &query);
        Some(found.get(0)?.get(ELEMENT)?.as_str()?.to_owned())
    }

    fn get_text(&self, path: &str) -> String {
        self.get(path).as_str().unwrap().to_owned()
    }

    fn get(&self, path: &str) -> Value {
        self.command("GET", path, &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.command("POST", path, body)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let whole = format!("/session/{}{path}", self.session);
        let response = self.driver.command(method, &whole, body);
        response.unwrap_or_else(|why| panic!("the browser, at {method} {path} {body}: {why}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver kills what is left after that.
        let path = format!("/session/{}", self.session);
        let _ = self.driver.command("DELETE", &path, &Value::Null);
    }
}

/// Fails the test if the program is missing: tests in the browser are not skipped.
fn require_program(program: &str, package: &str) {
    let output = Command::new(program).arg("--version").output();
    let works = output.is_ok_and(|output| output.status.success());
    assert!(
        works,
        "{program} is missing or does not run: install the Debian package {package} (contrib/test \
        does)"
    );
}

/// A chromedriver with its child processes.
struct Driver {
    port: u16,
    /// The shell that started the driver; when its standard input ends, it kills the process group.
    guard: Child,
}

impl Driver {
    fn start(home: &Path) -> Driver {
        // The pipe closes with this process, however that ends, and then the group is killed.
        let mut guard = Command::new("sh")
            .args(["-c", "chromedriver --port=0 & read -r _; kill -KILL 0"])
            .process_group(0)
            .env("HOME", home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(guard.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        // Read to the end, so that the driver never writes into a closed pipe.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    let _ = sender.send(port.trim_end_matches('.').parse());
                }
            }
        });
        let mut driver = Driver { port: 0, guard };
        let port = receiver.recv_timeout(TIMEOUT);
        driver.port = port.expect("chromedriver does not start").unwrap();
        driver
    }

    /// Sends a command to the driver; returns the value of its response, or its error.
    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let response = self.exchange(method, path, &body);
        let response = response.map_err(|error| format!("chromedriver: {error}"))?;
        let mut response: Value = serde_json::from_slice(&response)
            .map_err(|error| format!("chromedriver does not respond in JSON: {error}"))?;
        let value = response["value"].take();
        match value.get("error") {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    /// Sends one request over a connection of its own; returns the body of the response.
    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(socket);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut response = vec![0; length];
        reader.read_exact(&mut response)?;
        Ok(response)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
