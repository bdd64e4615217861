//! Where the user's browser runs: on this machine, at the other end of an SSH connection, or outside
//! this container.

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::Environment;

/// What the process's environment says about the user's browser.
#[derive(Debug)]
pub(super) struct UserEnvironment {
    has_desktop: bool,
    names_browser: bool,
    /// Absent outside a container.
    container: Option<ContainerNetwork>,
    ssh: Option<SshConnection>,
}

/// Whose network a container uses.
#[derive(Debug, PartialEq, Eq)]
enum ContainerNetwork {
    /// One of its own: connections to a published port arrive on another address than loopback.
    Own,
    /// Perhaps the host's, whose addresses other machines reach.
    Shared,
}

/// This host's address in the user's SSH connection.
#[derive(Debug, PartialEq, Eq)]
struct SshConnection {
    host: IpAddr,
    port: u16,
    user: Option<String>,
}

impl UserEnvironment {
    /// Evaluates the environment variables, and the files that mark a container.
    pub(super) fn detect(environment: &Environment) -> UserEnvironment {
        let has_container_mark = ["/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|mark| Path::new(mark).exists());
        let is_in_container = environment.is_in_container || has_container_mark;
        UserEnvironment {
            has_desktop: environment.has_desktop || cfg!(target_os = "macos"),
            names_browser: environment.names_browser,
            container: is_in_container.then(|| {
                if is_virtual_network(Path::new("/sys/class/net")) {
                    ContainerNetwork::Own
                } else {
                    ContainerNetwork::Shared
                }
            }),
            ssh: environment
                .ssh_connection
                .as_deref()
                .and_then(|connection| {
                    SshConnection::parse(connection, environment.user.as_deref())
                }),
        }
    }

    /// Whether this is a container that publishes ports from a network of its own.
    pub(super) fn has_own_network(&self) -> bool {
        self.container == Some(ContainerNetwork::Own)
    }

    /// Whether to open a browser; not on this machine's screen if the user is logged in over SSH.
    pub(super) fn can_open_browser(&self) -> bool {
        self.names_browser || (self.has_desktop && self.ssh.is_none())
    }

    /// The command that forwards this port from the computer with the browser; `None` if the browser
    /// probably runs here, or connects to a published port of this container.
    pub(super) fn ssh_tunnel_command(&self, port: u16) -> Option<String> {
        let forward = format!("ssh -N -L {port}:127.0.0.1:{port}");
        let Some(ssh) = &self.ssh else {
            let needs_no_tunnel = self.can_open_browser() || self.container.is_some();
            return (!needs_no_tunnel).then(|| format!("{forward} USER@THIS-MACHINE"));
        };
        let user = ssh
            .user
            .as_ref()
            .map_or(String::new(), |user| format!("{user}@"));
        let other_port = match ssh.port {
            22 => String::new(),
            other => format!(" -p {other}"),
        };
        Some(format!("{forward}{other_port} {user}{}", ssh.host))
    }
}

impl SshConnection {
    /// Parses `$SSH_CONNECTION`: the client's address and port, the server's address and port
    /// (ssh(1)).
    fn parse(connection: &str, user: Option<&str>) -> Option<SshConnection> {
        let mut words = connection.split_ascii_whitespace().skip(2);
        let needs_no_quoting = |name: &&str| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
                && !name.starts_with('-')
        };
        Some(SshConnection {
            host: words.next()?.parse().ok()?,
            port: words.next()?.parse().ok()?,
            user: user.filter(needs_no_quoting).map(str::to_owned),
        })
    }
}

/// Whether all interfaces but loopback are virtual ones whose other end is outside this network
/// namespace, as in a container. A container that shares the host's network sees the host's
/// interfaces. If in doubt, it counts as shared.
fn is_virtual_network(interfaces: &Path) -> bool {
    let is_loopback = |interface: &Path| interface.file_name() == Some(OsStr::new("lo"));
    let is_virtual = |interface: &PathBuf| {
        let read = |name| fs::read_to_string(interface.join(name)).ok();
        // A veth pair: the other end has another index. Rootless containers have a TAP device.
        let is_pair = read("iflink").is_some_and(|link| Some(link) != read("ifindex"));
        is_pair || interface.join("tun_flags").exists()
    };
    let interfaces: Vec<PathBuf> = fs::read_dir(interfaces)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        // `bonding_masters` is a file.
        .filter(|interface| interface.is_dir() && !is_loopback(interface))
        .collect();
    !interfaces.is_empty() && interfaces.iter().all(is_virtual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_containers_own_if_every_interface_leads_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str, files: &[(&str, &str)]| {
            fs::create_dir(folder.path().join(name)).unwrap();
            for (file, text) in files {
                fs::write(folder.path().join(name).join(file), text).unwrap();
            }
        };
        let is_own = || is_virtual_network(folder.path());
        assert!(!is_virtual_network(&folder.path().join("missing")));
        add("lo", &[("ifindex", "1\n"), ("iflink", "1\n")]);
        fs::write(folder.path().join("bonding_masters"), "").unwrap();
        assert!(!is_own(), "no way out");
        add("eth0", &[("ifindex", "2\n"), ("iflink", "17\n")]);
        assert!(is_own());
        add(
            "tap0",
            &[
                ("ifindex", "3\n"),
                ("iflink", "3\n"),
                ("tun_flags", "0x1002\n"),
            ],
        );
        assert!(is_own());
        add("docker0", &[("ifindex", "4\n"), ("iflink", "4\n")]);
        assert!(!is_own(), "as with --network host");
    }

    #[test]
    fn the_tunnel_command_can_be_typed_as_it_is() {
        let over = |connection: &str, user: Option<&str>| {
            UserEnvironment::detect(&Environment {
                ssh_connection: Some(connection.to_owned()),
                user: user.map(str::to_owned),
                ..Environment::default()
            })
            .ssh_tunnel_command(8080)
        };
        assert_eq!(
            over("192.0.2.7 50000 192.0.2.1 22", Some("alice")).unwrap(),
            "ssh -N -L 8080:127.0.0.1:8080 alice@192.0.2.1"
        );
        assert_eq!(
            over("2001:db8::7 50000 2001:db8::1 2222", None).unwrap(),
            "ssh -N -L 8080:127.0.0.1:8080 -p 2222 2001:db8::1"
        );
        assert_eq!(
            over("192.0.2.7 50000 192.0.2.1 22", Some("a; rm -r /")).unwrap(),
            "ssh -N -L 8080:127.0.0.1:8080 192.0.2.1"
        );
        for nonsense in ["a b c d", "192.0.2.7 50000 192.0.2.1", "1 2 $(x) 22"] {
            assert_eq!(SshConnection::parse(nonsense, None), None, "{nonsense}");
        }
    }

    #[test]
    fn without_an_ssh_connection_the_tunnel_command_has_placeholders() {
        let unknown = UserEnvironment {
            has_desktop: false,
            names_browser: false,
            container: None,
            ssh: None,
        };
        assert_eq!(
            unknown.ssh_tunnel_command(8080).unwrap(),
            "ssh -N -L 8080:127.0.0.1:8080 USER@THIS-MACHINE"
        );
        let with_desktop = UserEnvironment {
            has_desktop: true,
            ..unknown
        };
        assert_eq!(with_desktop.ssh_tunnel_command(8080), None);
        let in_container = UserEnvironment {
            has_desktop: false,
            container: Some(ContainerNetwork::Shared),
            ..with_desktop
        };
        assert_eq!(in_container.ssh_tunnel_command(8080), None);
    }

    #[test]
    fn a_browser_is_opened_only_where_the_user_can_see_it() {
        let with_desktop = Environment {
            has_desktop: true,
            ..Environment::default()
        };
        let over_ssh = Environment {
            ssh_connection: Some("192.0.2.7 50000 192.0.2.1 22".to_owned()),
            ..with_desktop.clone()
        };
        let with_browser = Environment {
            names_browser: true,
            ..over_ssh.clone()
        };
        assert!(UserEnvironment::detect(&with_desktop).can_open_browser());
        assert!(!UserEnvironment::detect(&over_ssh).can_open_browser());
        assert!(UserEnvironment::detect(&with_browser).can_open_browser());
        assert!(
            cfg!(target_os = "macos")
                || !UserEnvironment::detect(&Environment::default()).can_open_browser()
        );
    }
}
