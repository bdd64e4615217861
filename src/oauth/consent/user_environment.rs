//! Where the person sits: at this machine, at the other end of an SSH connection, in a container.

use std::net::IpAddr;
use std::path::Path;

use crate::config::Environment;

/// What the environment says of the person's whereabouts.
#[derive(Debug)]
pub(super) struct UserEnvironment {
    has_desktop: bool,
    names_browser: bool,
    is_in_container: bool,
    ssh: Option<SshConnection>,
}

/// This host as the person's own computer sees it.
#[derive(Debug, PartialEq, Eq)]
struct SshConnection {
    host: IpAddr,
    port: u16,
    user: Option<String>,
}

impl UserEnvironment {
    /// Reads it off the process's environment, and off the marks that containers carry.
    pub(super) fn detect(environment: &Environment) -> UserEnvironment {
        let has_mark = ["/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|mark| Path::new(mark).exists());
        UserEnvironment {
            has_desktop: environment.has_desktop || cfg!(target_os = "macos"),
            names_browser: environment.names_browser,
            is_in_container: environment.is_in_container || has_mark,
            ssh: environment
                .ssh_connection
                .as_deref()
                .and_then(|connection| {
                    SshConnection::parse(connection, environment.user.as_deref())
                }),
        }
    }

    /// Whether to look for a browser: one that opened on this machine's screen is of no use to
    /// somebody who sits elsewhere.
    pub(super) fn can_open_browser(&self) -> bool {
        self.names_browser || (self.has_desktop && self.ssh.is_none())
    }

    /// Whether the browser comes in by another address than loopback.
    pub(super) fn is_in_container(&self) -> bool {
        self.is_in_container
    }

    /// What to type on the computer with the browser, so that it finds this port; none where the
    /// browser is most probably on this one, or comes in by a published port.
    pub(super) fn ssh_tunnel_command(&self, port: u16) -> Option<String> {
        let forward = format!("ssh -N -L {port}:127.0.0.1:{port}");
        let Some(ssh) = &self.ssh else {
            let is_here = self.can_open_browser() || self.is_in_container;
            return (!is_here).then(|| format!("{forward} USER@THIS-MACHINE"));
        };
        let user = ssh.user.as_ref().map(|user| format!("{user}@"));
        let other_port = match ssh.port {
            22 => String::new(),
            other => format!(" -p {other}"),
        };
        Some(format!(
            "{forward}{other_port} {}{}",
            user.unwrap_or_default(),
            ssh.host
        ))
    }
}

impl SshConnection {
    /// Reads `$SSH_CONNECTION`: the client's address and port, the server's address and port
    /// (ssh(1)).
    fn parse(connection: &str, user: Option<&str>) -> Option<SshConnection> {
        let mut words = connection.split_ascii_whitespace().skip(2);
        let is_harmless = |name: &&str| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
                && !name.starts_with('-')
        };
        Some(SshConnection {
            host: words.next()?.parse().ok()?,
            port: words.next()?.parse().ok()?,
            user: user.filter(is_harmless).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(environment: &Environment) -> UserEnvironment {
        UserEnvironment::detect(environment)
    }

    #[test]
    fn the_tunnel_is_ready_to_be_typed() {
        let over = |connection: &str, user: Option<&str>| {
            desk(&Environment {
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
    fn where_the_browser_may_be_anywhere_the_tunnel_is_shown_in_general() {
        let nowhere = UserEnvironment {
            has_desktop: false,
            names_browser: false,
            is_in_container: false,
            ssh: None,
        };
        assert_eq!(
            nowhere.ssh_tunnel_command(8080).unwrap(),
            "ssh -N -L 8080:127.0.0.1:8080 USER@THIS-MACHINE"
        );
        let at_home = UserEnvironment {
            has_desktop: true,
            ..nowhere
        };
        assert_eq!(at_home.ssh_tunnel_command(8080), None);
        let in_container = UserEnvironment {
            has_desktop: false,
            is_in_container: true,
            ..at_home
        };
        assert_eq!(in_container.ssh_tunnel_command(8080), None);
    }

    #[test]
    fn a_browser_is_opened_where_the_person_sits() {
        let at_home = Environment {
            has_desktop: true,
            ..Environment::default()
        };
        let away = Environment {
            ssh_connection: Some("192.0.2.7 50000 192.0.2.1 22".to_owned()),
            ..at_home.clone()
        };
        let named = Environment {
            names_browser: true,
            ..away.clone()
        };
        assert!(desk(&at_home).can_open_browser());
        assert!(!desk(&away).can_open_browser());
        assert!(desk(&named).can_open_browser());
        assert!(cfg!(target_os = "macos") || !desk(&Environment::default()).can_open_browser());
    }
}
