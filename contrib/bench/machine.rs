//! The name of this machine, and the versions of the programs.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

/// In one line.
pub fn hardware() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpu.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(": "));
    let model = model.map_or("an unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = output("uname", &["-srm"]);
    format!("{model}, {cores} cores, {kernel}")
}

/// In one line.
pub fn versions(program: &Path) -> String {
    let dovecot = dovecot();
    let ours = output(program, &["--version"]);
    let isync = output("mbsync", &["--version"]);
    format!("{ours}, {isync}, Dovecot {dovecot}")
}

/// The version of Dovecot.
pub fn dovecot() -> String {
    output("/usr/sbin/dovecot", &["--version"])
}

/// The processes that wanted to run in the last minute, on average.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// The kind of the file system of a folder.
pub fn file_system(folder: &Path) -> String {
    let mut command = Command::new("df");
    last_line(command.arg("--output=fstype").arg(folder))
}

fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    last_line(Command::new(program).args(arguments))
}

fn last_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout);
    let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
    text.lines().last().unwrap_or_default().trim().to_owned()
}
