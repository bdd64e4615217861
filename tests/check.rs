//! What does `check` find out, and does it leave files and servers alone?

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "support/program.rs"]
mod program;

use program::{Home, Run, program};

#[test]
fn demo() {
    let home = Home::new();
    let run: Run = program(&home.path(""))
        .args(["check", "--config", "config.json"])
        .output()
        .unwrap()
        .into();
    println!("{}\n{}", run.stdout, run.stderr);
    home.configure(&serde_json::json!({"source_ca_file": null}));
    let run: Run = program(&home.path(""))
        .args(["check", "--config", "config.json"])
        .output()
        .unwrap()
        .into();
    println!("{}\n{}", run.stdout, run.stderr);
    home.configure(&serde_json::json!({"source_ca_file": "source.pem", "source_folder": "INBX", "target_folder": "[Gmail]/All Mai"}));
    let run: Run = program(&home.path(""))
        .args(["check", "--config", "config.json"])
        .output()
        .unwrap()
        .into();
    println!("{}\n{}", run.stdout, run.stderr);
    let run: Run = program(&home.path(""))
        .args(["check", "--config", "."])
        .output()
        .unwrap()
        .into();
    println!("{}\n{}", run.stdout, run.stderr);
    let run: Run = program(&home.path(""))
        .args(["check", "--config", "config.json", "--json", "--debug"])
        .output()
        .unwrap()
        .into();
    println!("{}\n{}", run.stdout, run.stderr);
}
