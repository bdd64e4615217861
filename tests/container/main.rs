//! The image of `contrib/docker/Dockerfile`, without an engine: its last stage is followed into a root
//! folder, and its program runs there.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod dockerfile;
#[path = "../support/program.rs"]
mod program;
mod root_folder;
#[path = "../support/watching.rs"]
mod watching;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};

use program::{Home, Run};
use root_folder::{RootFolder, give};
use watching::Watching;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

fn deliver(home: &Home, id: &str) {
    let octets = format!("Message-ID: <{id}@x>\r\nSubject: {id}\r\n\r\nbody\r\n");
    let now = Utc::now().fixed_offset();
    home.source.deliver(octets.as_bytes(), now, &[]);
}

/// A home with two new messages.
fn home() -> Home {
    let home = Home::new();
    deliver(&home, "one");
    deliver(&home, "two");
    home
}

fn finish(mut command: Command) -> Run {
    command.output().unwrap().into()
}

/// The process that the namespace begins with, by its id on this machine.
fn process_1(watching: &Watching) -> u32 {
    let pid = watching.pid();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "nothing is started");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A field of `/proc/PID/status`.
fn process_field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim_start_matches(':').trim().replace('\t', " ")
}

fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn the_image_watches_as_process_1_is_healthy_and_stops_at_once() {
    let root = RootFolder::unpack();
    assert_eq!(root.image().volume, root.image().folder);
    let home = home();
    let container = root
        .container()
        .volume(&home.path(""), &root.image().volume);
    let not_yet = finish(container.check_health());
    assert_eq!(not_yet.status, Some(1), "{not_yet:?}");
    assert!(
        not_yet.stdout.contains("no run was made yet"),
        "{not_yet:?}"
    );

    let watching = Watching::spawn(container.run_default());
    watching.wait_for("watching INBOX");
    watching.wait_until("two messages arrive", || home.delivered().len() == 2);
    deliver(&home, "three");
    watching.wait_for("copied <three@x>");

    let program = process_1(&watching);
    let last = |field: &str| field.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(last(&process_field(program, "NSpid")), "1");
    let (user, _) = dockerfile::ids(&root.image().user);
    assert_ne!(user, 0);
    assert_eq!(last(&process_field(program, "Uid")), user.to_string());
    assert_eq!(process_field(program, "CapEff").trim_start_matches('0'), "");
    let healthy = finish(container.check_health());
    assert_eq!(healthy.status, Some(0), "{healthy:?}");

    signal(program, Signal::HUP);
    watching.wait_for("the configuration was reloaded");
    assert_eq!(root.image().stop_signal, "SIGTERM");
    let asked = Instant::now();
    signal(program, Signal::TERM);
    let ended = watching.wait_for_exit();
    // An engine kills after ten seconds, the program ends within five.
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn the_image_runs_as_any_user_with_a_read_only_root() {
    let root = RootFolder::unpack();
    let home = home();
    home.configure(&json!({
        "source_pass": null,
        "source_pass_command": "cat /data/password",
        "source_ca_file": null,
        "target_ca_file": null,
    }));
    root.trust(home.source.ca_pem());
    root.trust(home.gmail.ca_pem());
    home.write("password", "secret\n");
    let container = root
        .container()
        .user("12345:12345")
        .read_only()
        .volume(&home.path(""), "/data");
    let mut once = root.image().command.clone();
    once.retain(|word| word != "--watch");
    let run = finish(container.run(&once));
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(home.delivered().len(), 2);
    for (command, part) in [
        (&["--version"][..], env!("CARGO_PKG_VERSION")),
        (&["auth", "--help"], "client_secret.json"),
        (&["status", "--config", "config.json"], "last success"),
    ] {
        let run = finish(container.run(command));
        assert_eq!(run.status, Some(0), "{run:?}");
        assert!(run.stdout.contains(part), "{run:?}");
    }
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn without_a_configuration_the_image_ends_and_says_which_file_is_missing() {
    let root = RootFolder::unpack();
    let run = finish(root.container().user("12345:12345").run_default());
    assert_eq!(run.status, Some(78), "{run:?}");
    assert!(run.stderr.contains("/data/config.json"), "{run:?}");
}

/// The original's image ran as root: the folder belongs to its user, what the original wrote to root.
#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn the_originals_data_folder_is_used_as_it_is() {
    let root = RootFolder::unpack();
    let home = home();
    home.configure(&json!({ "target_token_file": "/data/token.json" }));
    home.write(
        "sync_state.json",
        &json!({
            "last_uid": 1,
            "last_sync": (Utc::now() - TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%S").to_string(),
            "synced_message_ids": { "<one@x>": Utc::now().format("%Y-%m-%dT%H:%M:%S").to_string() },
        })
        .to_string(),
    );
    let container = root.container().volume(&home.path(""), "/data");
    for name in ["token.json", "sync_state.json"] {
        chown(home.path(name), Some(0), Some(0)).unwrap();
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let watching = Watching::spawn(container.run_default());
    watching.wait_for("1 copied");
    let healthy = finish(container.check_health());
    assert_eq!(healthy.status, Some(0), "{healthy:?}");
    signal(process_1(&watching), Signal::TERM);
    let ended = watching.wait_for_exit();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let delivered: Vec<String> = home.delivered().into_keys().collect();
    assert!(
        delivered.len() == 1 && delivered[0].contains("<two@x>"),
        "{delivered:?}"
    );
    let token: Value = serde_json::from_str(&home.read("token.json")).unwrap();
    assert!(
        token["token"].is_string(),
        "the renewed token is saved: {token}"
    );
}

/// Without a handler the kernel ignores a signal for process 1.
#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn a_signal_ends_auth_as_process_1() {
    let root = RootFolder::unpack();
    let home = home();
    home.write("client_secret.json", &home.endpoint.client_secret_json());
    let container = root.container().volume(&home.path(""), "/data");
    for (number, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let auth = Watching::spawn(container.run(&[
            "auth",
            "--force",
            "--credentials",
            "client_secret.json",
            "--config",
            "config.json",
        ]));
        auth.wait_for("This waits for 5 minutes");
        signal(process_1(&auth), number);
        let ended = auth.wait_for_exit();
        // It knows that it runs in a container, whose port nobody reaches by SSH.
        assert!(!ended.stdout.contains("ssh -N"), "{ended:?}");
        assert_eq!(ended.status, Some(status), "{ended:?}");
    }
}

/// As the kubelet mounts a secret: everybody may write the folder, and links lead to the files.
fn write_secret(home: &Home, names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("..2026_11_28");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("..2026_11_28", folder.path().join("..data")).unwrap();
    for name in names {
        fs::copy(home.path(name), data.join(name)).unwrap();
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o440)).unwrap();
        symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    folder
}

/// The arguments of the container in a manifest.
fn arguments(manifest: &str) -> Vec<String> {
    let file = Path::new(REPOSITORY)
        .join("contrib/kubernetes")
        .join(manifest);
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let line = lines
        .find_map(|line| line.trim().strip_prefix("args: "))
        .unwrap();
    serde_json::from_str(line).unwrap()
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn the_manifests_arguments_work_with_a_read_only_secret() {
    let root = RootFolder::unpack();
    for manifest in ["run/cronjob.yaml", "watch/deployment.yaml"] {
        let home = home();
        home.configure(&json!({ "source_pass": null, "source_pass_file": "password" }));
        home.write("password", "secret\n");
        let secret = write_secret(
            &home,
            &[
                "config.json",
                "password",
                "token.json",
                "source.pem",
                "gmail.pem",
            ],
        );
        let user = "10001:10001";
        for entry in fs::read_dir(secret.path().join("..data")).unwrap() {
            chown(entry.unwrap().path(), Some(0), Some(10001)).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        give(state.path(), user);
        let container = root
            .container()
            .user(user)
            .read_only()
            .mount(secret.path(), "/config", "ro")
            .mount(state.path(), "/data", "rw");
        let running = Watching::spawn(container.run(&arguments(manifest)));
        running.wait_for("2 copied");
        if manifest.starts_with("watch") {
            signal(process_1(&running), Signal::TERM);
        }
        let ended = running.wait_for_exit();
        assert_eq!(ended.status, Some(0), "{manifest}: {ended:?}");
        let warnings = ended.stdout.matches(" warn ").count();
        let unsaved = "the renewed token cannot be saved and is used from memory";
        assert!(
            warnings == 1 && ended.stdout.contains(unsaved),
            "{manifest}: {ended:?}"
        );
        assert!(state.path().join("sync_state.json").exists());
    }
}
