//! A real browser without a window: Chromium, driven over `WebDriver` (W3C).

// Each test uses its own part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything in a browser may take; only what went wrong takes that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// By which name `WebDriver` hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with an empty profile of its own; it ends when this is dropped, or its test does.
pub struct Browser {
    driver: Driver,
    session: String,
    _profile: TempDir,
}

/// A window or a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab(String);

/// What a person prefers to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Light,
    Dark,
}

/// An entry of the browser's log: errors of scripts, what could not be loaded, what the page's
/// Content-Security-Policy forbade.
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

    /// The same, but nothing waits for a page to be loaded: for pages that let themselves be waited
    /// for.
    pub fn start_impatient() -> Browser {
        Browser::begin("none")
    }

    fn begin(page_load_strategy: &str) -> Browser {
        need("chromium", "chromium");
        need("chromedriver", "chromium-driver");
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
        let begun = driver.ask("POST", "/session", &json!({ "capabilities": capabilities }));
        let begun = begun.unwrap_or_else(|why| panic!("Chromium does not start: {why}"));
        Browser {
            session: begun["sessionId"].as_str().unwrap().to_owned(),
            driver,
            _profile: profile,
        }
    }

    /// Goes to an address and waits until it is loaded; a page that cannot be had is an error.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The tab that is looked at.
    pub fn tab(&self) -> Tab {
        Tab(self.get_text("/window"))
    }

    /// Opens another tab and looks at it.
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

    /// The text of the page as a person sees it.
    pub fn text(&self) -> String {
        let body = self.element("body").unwrap();
        self.get_text(&format!("/element/{body}/text"))
    }

    /// The page's source as the browser has it now.
    pub fn source(&self) -> String {
        self.get_text("/source")
    }

    /// Clicks on the element that a CSS selector finds, as soon as it is there, and waits for the
    /// page to which that may lead.
    pub fn click(&self, css: &str) {
        let element = self.wait_for_element(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Replaces what is in a field.
    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.wait_for_element(css);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        let path = format!("/element/{element}/value");
        self.post(&path, &json!({ "text": text }));
    }

    /// What is in a field.
    pub fn value_of(&self, css: &str) -> String {
        let element = self.wait_for_element(css);
        self.get_text(&format!("/element/{element}/property/value"))
    }

    /// Whether a person sees the element; not if there is none.
    pub fn is_shown(&self, css: &str) -> bool {
        self.element(css).is_some_and(|element| {
            let path = format!("/element/{element}/displayed");
            self.get(&path).as_bool().unwrap()
        })
    }

    /// Runs JavaScript in the page as a function's body; gives what it returns.
    pub fn run_script(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The person prefers light or dark from now on.
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

    /// Takes a picture of what is seen, as a PNG file.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.get_text("/screenshot");
        fs::write(path, STANDARD.decode(picture).unwrap()).unwrap();
    }

    /// What the browser has logged since it was last asked.
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

    /// Waits until something is so; `what` says it in the words of a test that fails.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Browser) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "the browser waited in vain until {what}; it is at {} and shows {:?}",
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

    /// Waits for an address that begins like this.
    pub fn wait_for_url(&self, beginning: &str) {
        let what = format!("the address begins with {beginning}");
        self.wait_until(&what, |browser| browser.url().starts_with(beginning));
    }

    /// Waits for a page with this in its text.
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
        self.ask("GET", path, &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let whole = format!("/session/{}{path}", self.session);
        let answer = self.driver.ask(method, &whole, body);
        answer.unwrap_or_else(|why| panic!("the browser, at {method} {path} {body}: {why}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends whatever is left after that.
        let path = format!("/session/{}", self.session);
        let _ = self.driver.ask("DELETE", &path, &Value::Null);
    }
}

/// A program is there and works; where it is not, tests fail rather than look away.
fn need(program: &str, package: &str) {
    let asked = Command::new(program).arg("--version").output();
    let works = asked.is_ok_and(|output| output.status.success());
    assert!(
        works,
        "{program} is missing or does not run: install the Debian package {package} (contrib/test \
        does)"
    );
}

/// A chromedriver, and all that it starts.
struct Driver {
    port: u16,
    /// The shell over the driver; when its standard input ends, it ends all.
    guard: Child,
}

impl Driver {
    fn start(home: &Path) -> Driver {
        // However this process ends, the pipe does, and with it the group.
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
        let (tell, told) = mpsc::channel();
        // It is read to its end, lest the driver find its pipe closed.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    let _ = tell.send(port.trim_end_matches('.').parse());
                }
            }
        });
        let mut driver = Driver { port: 0, guard };
        let port = told.recv_timeout(PATIENCE);
        driver.port = port.expect("chromedriver does not start").unwrap();
        driver
    }

    /// Asks the driver; gives the value of its answer, or what it says went wrong.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.exchange(method, path, &body);
        let answer = answer.map_err(|error| format!("chromedriver: {error}"))?;
        let mut answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| format!("chromedriver does not answer in JSON: {error}"))?;
        let value = answer["value"].take();
        match value.get("error") {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    /// One request over a connection of its own; gives the body of the response.
    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
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
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
