//! The listener to which Google redirects the browser: its port, its pages, and requests that it ignores.

use std::fs;
use std::net::{TcpListener, TcpStream};

use double::Consent;

use crate::running_auth::{
    RunningAuth, assert_failed, auth, consent, field, get, home, port_in, redirect_of, send_request,
};

#[test]
fn the_page_loads_nothing_and_runs_no_script() {
    let home = home();
    let running = RunningAuth::start(&mut auth(&home));
    let page = consent(&running.address());
    let head = page.head.to_ascii_lowercase();
    for expected in [
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.contains(expected), "{expected} in {head}");
    }
    for resource in ["<script", "src=", "url(", "@import", "href="] {
        assert!(!page.body.contains(resource), "{resource} in {}", page.body);
    }
    assert_eq!(running.wait_for_exit().status, Some(0));
}

#[test]
fn other_paths_do_not_end_the_wait() {
    let home = home();
    let running = RunningAuth::start(&mut auth(&home));
    let address = running.address();
    let back = redirect_of(&address);
    let host = back["http://".len()..].split('/').next().unwrap();
    for path in [
        "/favicon.ico",
        "/",
        "/robots.txt",
        "/?x=1",
        "/elsewhere?code=4/0A&state=x",
    ] {
        let response = get(&format!("http://{host}{path}"));
        assert_eq!(
            (response.status, response.title()),
            (404, "There is nothing here"),
            "{path}"
        );
    }
    for request in [
        "POST / HTTP/1.1\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1} nonsense\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
    ] {
        assert_eq!(send_request(host, request.as_bytes()).status, 400);
    }
    // Connections without a request, which browsers open in advance.
    let _idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(host).unwrap()).collect();
    assert_eq!(get(&back).status, 200);
    assert_eq!(running.wait_for_exit().status, Some(0));
}

#[test]
fn a_response_with_another_state_is_ignored() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::WrongState);
    let running = RunningAuth::start(&mut auth(&home));
    let address = running.address();
    let page = consent(&address);
    assert_eq!(
        (page.status, page.title()),
        (400, "This page belongs to another attempt")
    );
    running.wait_for("belongs to another attempt");
    // A forged denial is ignored, too, and no code is exchanged.
    let back = redirect_of(&address);
    let root = back.split_once('?').unwrap().0;
    assert_eq!(
        get(&format!("{root}?error=access_denied&state=x")).status,
        400
    );
    assert_eq!(get(&format!("{root}?error=access_denied")).status, 400);
    assert!(home.endpoint.requests().is_empty());

    home.endpoint
        .change(|options| options.consent = Consent::Given);
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.wait_for_exit().status, Some(0));
}

#[test]
fn a_used_code_is_not_accepted_again() {
    let home = home();
    let running = RunningAuth::start(&mut auth(&home));
    let back = redirect_of(&running.address());
    let code = field(&back, "code").to_owned();
    assert_eq!(get(&back).status, 200);
    assert_eq!(running.wait_for_exit().status, Some(0));
    let before = home.read("token.json");

    // Into another attempt, with that one's state.
    let running = RunningAuth::start(auth(&home).arg("--force"));
    let address = running.address();
    let port = port_in(&address);
    let page = get(&format!(
        "http://127.0.0.1:{port}/?code={code}&state={}",
        field(&address, "state")
    ));
    assert_eq!(
        (page.status, page.title()),
        (400, "This consent has expired")
    );
    assert_eq!(running.wait_for_exit().status, Some(77));
    assert_eq!(home.read("token.json"), before);
}

#[test]
fn a_port_that_another_program_uses_is_named() {
    let other = free_listener();
    let port = other.local_addr().unwrap().port();
    let home = home();
    let run = RunningAuth::start(auth(&home).args(["--port", &port.to_string()])).wait_for_exit();
    let line = format!(
        "127.0.0.1:{port}: waiting for the browser: another program uses this port; choose \
         another --port, or leave it out to use any free port"
    );
    assert_failed(&run, 69, &line);
    drop(other);
    let running = RunningAuth::start(auth(&home).args(["--port", &port.to_string()]));
    let address = running.address();
    assert!(field(&address, "redirect_uri").contains(&format!("%3A{port}%2F")));
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.wait_for_exit().status, Some(0));
}

#[test]
fn only_a_published_port_of_a_container_listens_beyond_loopback() {
    let reaches = |options: &[&str], container: Option<&str>| {
        let home = home();
        let mut command = auth(&home);
        command.args(options);
        if let Some(container) = container {
            command.env("container", container);
        }
        let running = RunningAuth::start(&mut command);
        let port: u16 = port_in(&running.address()).parse().unwrap();
        TcpStream::connect(("127.0.0.2", port)).is_ok()
    };
    let published = free_port().to_string();
    // On a machine with an interface of its own it is as with `--network host`.
    let is_virtual = has_only_virtual_interfaces();
    assert_eq!(reaches(&["--port", &published], Some("podman")), is_virtual);
    assert!(!reaches(&[], Some("podman")));
    let is_container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|mark| fs::exists(mark).unwrap());
    let is_reached = is_container && is_virtual;
    assert_eq!(reaches(&["--port", &published], None), is_reached);
}

fn has_only_virtual_interfaces() -> bool {
    let read = |name: &str, file: &str| fs::read_to_string(format!("/sys/class/net/{name}/{file}"));
    let entries = fs::read_dir("/sys/class/net").unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != "lo" && read(name, "ifindex").is_ok());
    let is_virtual = |name: &String| {
        read(name, "ifindex").unwrap() != read(name, "iflink").unwrap()
            || read(name, "tun_flags").is_ok()
    };
    !names.is_empty() && names.iter().all(is_virtual)
}

#[test]
fn an_address_of_another_host_than_googles_is_warned_about() {
    let home = home();
    let mut command = auth(&home);
    let file = home.read("client_secret.json");
    let mut fields: serde_json::Value = serde_json::from_str(&file).unwrap();
    fields["installed"]["token_uri"] = "https://tokens.example.com/token".into();
    home.write("client_secret.json", &fields.to_string());
    let running = RunningAuth::start(&mut command);
    running.wait_for(
        "Warning: client_secret.json: token_uri names tokens.example.com, which is not Google's",
    );
}

/// A port that no other test gets by chance: ephemeral ports begin at 32768.
fn free_listener() -> TcpListener {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..32_768)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap()
}

fn free_port() -> u16 {
    free_listener().local_addr().unwrap().port()
}
