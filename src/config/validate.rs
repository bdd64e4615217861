//! What the fields of `config.json` mean: defaults, ranges, and values that depend on each other.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use crate::config::Password;
use crate::config::folders::{folder_config, on_move};
use crate::config::import::import_config;
use crate::config::paths::PathResolver;
use crate::config::raw::{RawConfig, Validated};
use crate::config::size::parse_size;
use crate::config::{Config, Server, SourceConfig, TargetConfig, TlsMode};
use crate::secret::Secret;

const GMAIL: &str = "imap.gmail.com";
const IMAPS: u16 = 993;
const IMAP: u16 = 143;

/// Gmail allows 15 connections for an account; lookups and phones need some of them.
const MAX_CONNECTIONS: usize = 10;
const DEFAULT_CONNECTIONS: usize = 4;

/// Servers limit the connections of a user, often to 10, of which mail programs need some.
const DEFAULT_SOURCE_CONNECTIONS: usize = 3;

const DEFAULT_FIRST_RUN_DAYS: u32 = 7;
/// A century; more is a typing mistake.
const MAX_FIRST_RUN_DAYS: u32 = 36_525;

/// Gmail locks an account at about 500 MB a day, and phones upload, too.
const DEFAULT_DAILY_UPLOAD_LIMIT: u64 = 400 << 20;

/// Validates all fields; the error lists all mistakes in one line.
pub(super) fn config(mut raw: RawConfig, paths: &PathResolver<'_>) -> Result<Config, String> {
    let config = fields(&mut raw, paths);
    match (raw.mistakes(), config) {
        (None, Ok(config)) => Ok(config),
        (mistakes, _) => Err(mistakes.unwrap_or_default()),
    }
}

// Here and below, every field is read before the first `?`: `RawConfig` then knows all names and all
// mistakes.
fn fields(raw: &mut RawConfig, paths: &PathResolver<'_>) -> Validated<Config> {
    let source = source(raw, paths);
    let target = target(raw, paths);
    let first_run_days = raw.number("first_run_days", &(0..=MAX_FIRST_RUN_DAYS));
    let copy_flags = raw.boolean("copy_flags");
    let daily_upload_limit = daily_upload_limit(raw);
    let folders = folder_config(
        raw,
        copy_flags.as_ref().map_or(true, |it| it.unwrap_or(true)),
    );
    let on_move = on_move(raw);
    let source_connections = raw.number("source_connections", &(0..=MAX_CONNECTIONS));
    let folders = folders?;
    let (source_folder, target_folder) = folders.first_names();
    Ok(Config {
        source: SourceConfig {
            folder: source_folder,
            ..source?
        },
        target: TargetConfig {
            folder: target_folder,
            ..target?
        },
        folders,
        on_move: on_move?,
        source_connections: source_connections?.unwrap_or(DEFAULT_SOURCE_CONNECTIONS),
        first_run_days: first_run_days?.unwrap_or(DEFAULT_FIRST_RUN_DAYS),
        copy_flags: copy_flags?.unwrap_or(true),
        daily_upload_limit: daily_upload_limit?,
        credentials_stamp: String::new(),
        warnings: Vec::new(),
    })
}

fn source(raw: &mut RawConfig, paths: &PathResolver<'_>) -> Validated<SourceConfig> {
    let host = raw.required("source_server");
    let host = host.and_then(|host| bare_host(raw, "source_server", host));
    let user = raw.required("source_user");
    let password = password(raw, paths);
    let port = port(raw, "source_port");
    let tls = source_tls(raw, host.as_deref().ok());
    let ca_file = file(raw, "source_ca_file", paths);
    let tls_name = raw.line("source_tls_name");
    let (host, tls) = (host?, tls?);
    let default_port = if tls == TlsMode::Implicit {
        IMAPS
    } else {
        IMAP
    };
    Ok(SourceConfig {
        server: Server {
            port: port?.unwrap_or(default_port),
            tls,
            tls_name: tls_name?.unwrap_or_else(|| host.clone()),
            ca_file: ca_file?,
            host,
        },
        user: user?,
        password: password?,
        folder: String::new(),
    })
}

fn target(raw: &mut RawConfig, paths: &PathResolver<'_>) -> Validated<TargetConfig> {
    let user = raw.required("target_user");
    let user = user.and_then(|user| mail_address(raw, "target_user", user));
    let token_file = raw.required("target_token_file");
    let host = raw.line("target_server");
    let host = host.map(|host| host.unwrap_or_else(|| GMAIL.to_owned()));
    let host = host.and_then(|host| bare_host(raw, "target_server", host));
    let port = port(raw, "target_port");
    let ca_file = file(raw, "target_ca_file", paths);
    let connections = raw.number("target_connections", &(1..=MAX_CONNECTIONS));
    let import = import_config(raw);
    let host = host?;
    Ok(TargetConfig {
        server: Server {
            port: port?.unwrap_or(IMAPS),
            tls: TlsMode::Implicit,
            tls_name: host.clone(),
            ca_file: ca_file?,
            host,
        },
        user: user?,
        token_file: paths.resolve(&token_file?),
        folder: String::new(),
        connections: connections?.unwrap_or(DEFAULT_CONNECTIONS),
        auth_command: String::new(),
        import: import?,
    })
}

/// Exactly one of three fields says where the source's password comes from.
fn password(raw: &mut RawConfig, paths: &PathResolver<'_>) -> Validated<Password> {
    let fields = ["source_pass", "source_pass_command", "source_pass_file"];
    let given: Vec<&str> = fields
        .into_iter()
        .filter(|name| raw.contains(name))
        .collect();
    let mut secret = |name| {
        raw.string(name)
            .map(|text| Secret::new(text.unwrap_or_default()))
    };
    match given.as_slice() {
        [] => Err(raw.add_mistake(
            "source_pass is missing (or one of source_pass_command and source_pass_file)",
        )),
        ["source_pass"] => secret("source_pass").map(Password::Given),
        ["source_pass_command"] => secret("source_pass_command").map(Password::Command),
        ["source_pass_file"] => {
            let name = raw.line("source_pass_file")?.unwrap_or_default();
            Ok(Password::File(paths.resolve_credential(&name)))
        }
        several => Err(raw.add_mistake(format_args!(
            "{} cannot be used together; give one",
            several.join(" and ")
        ))),
    }
}

fn source_tls(raw: &mut RawConfig, host: Option<&str>) -> Validated<TlsMode> {
    match raw.line("source_tls")?.as_deref() {
        None | Some("implicit") => Ok(TlsMode::Implicit),
        Some("starttls") => Ok(TlsMode::StartTls),
        Some("none") if host.is_none_or(is_loopback) => Ok(TlsMode::None),
        Some("none") => Err(raw.add_mistake(
            "source_tls \"none\" is for a source_server on this machine only (localhost, 127.0.0.1)",
        )),
        Some(_) => {
            Err(raw.add_mistake("source_tls must be \"implicit\", \"starttls\" or \"none\""))
        }
    }
}

fn port(raw: &mut RawConfig, name: &'static str) -> Validated<Option<u16>> {
    raw.number(name, &(1..=u16::MAX))
}

fn file(
    raw: &mut RawConfig,
    name: &'static str,
    paths: &PathResolver<'_>,
) -> Validated<Option<PathBuf>> {
    let file = raw.line(name)?;
    Ok(file.map(|file| paths.resolve(&file)))
}

fn daily_upload_limit(raw: &mut RawConfig) -> Validated<Option<u64>> {
    const NAME: &str = "daily_upload_limit";
    let Some(text) = raw.line(NAME)? else {
        return Ok(Some(DEFAULT_DAILY_UPLOAD_LIMIT));
    };
    if text == "none" {
        return Ok(None);
    }
    match parse_size(&text) {
        Some(octets @ 1..) => Ok(Some(octets)),
        _ => Err(raw.add_mistake(format_args!(
            "{NAME} must be a size, such as \"400M\", or \"none\""
        ))),
    }
}

/// Accepts an address alone, without a display name, angle brackets or blanks.
fn mail_address(raw: &mut RawConfig, name: &str, address: String) -> Validated<String> {
    let is_forbidden = |character: char| character.is_whitespace() || "<>,;\"".contains(character);
    match address.split_once('@') {
        Some((local, domain))
            if !local.is_empty()
                && !domain.is_empty()
                && !domain.contains('@')
                && !address.contains(is_forbidden) =>
        {
            Ok(address)
        }
        _ => Err(raw.add_mistake(format_args!(
            "{name} must be a mail address alone, such as alice@gmail.com"
        ))),
    }
}

/// Accepts a host name or an address without scheme, user or port.
fn bare_host(raw: &mut RawConfig, name: &str, host: String) -> Validated<String> {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = address.filter(|address| is_ipv6(address)) {
        return Ok(address.to_owned());
    }
    let is_forbidden = |character: char| character.is_whitespace() || "/@[]".contains(character);
    if host.contains(is_forbidden) || (host.contains(':') && !is_ipv6(&host)) {
        let port = name.replace("server", "port");
        return Err(raw.add_mistake(format_args!(
            "{name} must be a host name or an address alone (the port is {port})"
        )));
    }
    Ok(host)
}

/// Accepts a zone, too: `fe80::1%eth0` (RFC 4007).
fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// Whether this host name or address means this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use serde_json::{Map, Value, json};

    use super::*;
    use chrono::TimeDelta;

    use crate::config::{Environment, ImportConfig, OnMove};

    /// Resolves paths in folders that do not exist.
    fn read(fields: &Value) -> Result<Config, String> {
        let environment = Environment::default();
        let here = [PathBuf::new()];
        let paths = PathResolver::new(Path::new("/nowhere/config.json"), &environment, &here);
        config(RawConfig::parse(fields.to_string().as_bytes())?, &paths)
    }

    /// The required fields, changed by these; null removes a field.
    fn with(changed: &Value) -> Value {
        let mut fields: Map<String, Value> = serde_json::from_value(json!({
            "source_server": "mail.example.com",
            "source_user": "alice",
            "source_pass": "secret",
            "target_user": "alice@gmail.com",
            "target_token_file": "token.json",
        }))
        .unwrap();
        for (name, value) in changed.as_object().unwrap() {
            fields.insert(name.clone(), value.clone());
        }
        fields.retain(|_, value| !value.is_null());
        Value::Object(fields)
    }

    fn check_mistakes(cases: &[(Value, &str)]) {
        for (changed, line) in cases {
            assert_eq!(read(&with(changed)).unwrap_err(), *line, "{changed}");
        }
    }

    #[test]
    fn five_fields_are_enough() {
        let config = read(&with(&json!({}))).unwrap();
        assert_eq!(
            config.source.server,
            Server {
                host: "mail.example.com".to_owned(),
                port: 993,
                tls: TlsMode::Implicit,
                tls_name: "mail.example.com".to_owned(),
                ca_file: None,
            }
        );
        assert_eq!(config.source.user, "alice");
        assert_eq!(config.source.folder, "INBOX");
        assert_eq!(config.source.password.read().unwrap().expose(), "secret");
        assert_eq!(
            config.target.server,
            Server {
                host: "imap.gmail.com".to_owned(),
                port: 993,
                tls: TlsMode::Implicit,
                tls_name: "imap.gmail.com".to_owned(),
                ca_file: None,
            }
        );
        assert_eq!(config.target.user, "alice@gmail.com");
        assert_eq!(config.target.folder, "INBOX");
        assert_eq!(config.target.token_file, Path::new("/nowhere/token.json"));
        assert_eq!(config.target.connections, 4);
        assert_eq!(config.on_move, OnMove::Ignore);
        assert_eq!(config.source_connections, 3);
        assert_eq!(config.first_run_days, 7);
        assert!(config.copy_flags);
        assert_eq!(config.daily_upload_limit, Some(419_430_400));
        assert_eq!(config.target.import, None);
    }

    #[test]
    fn every_field_can_be_set() {
        let config = read(&with(&json!({
            "_note": 1,
            "source_server": "localhost",
            "source_port": 1143,
            "source_tls": "none",
            "source_ca_file": "source.pem",
            "source_tls_name": "mail.internal",
            "source_folder": "Entwürfe/\"alt\"",
            "target_server": "127.0.0.1",
            "target_port": 1993,
            "target_ca_file": "/etc/target.pem",
            "target_folder": "inbox",
            "labels": ["Old"],
            "archive": true,
            "on_move": "label",
            "source_connections": 0,
            "target_connections": 10,
            "first_run_days": 0,
            "copy_flags": false,
            "daily_upload_limit": "none",
            "delivery": "import",
            "import_max_age": "90m",
            "import_never_spam": true,
            "import_calendar": false,
            "target_api": "http://127.0.0.1:8080",
        })))
        .unwrap();
        assert_eq!(
            config.source.server,
            Server {
                host: "localhost".to_owned(),
                port: 1143,
                tls: TlsMode::None,
                tls_name: "mail.internal".to_owned(),
                ca_file: Some("/nowhere/source.pem".into()),
            }
        );
        assert_eq!(config.source.folder, "Entwürfe/\"alt\"");
        assert_eq!(config.target.server.host, "127.0.0.1");
        assert_eq!(config.target.server.tls_name, "127.0.0.1");
        assert_eq!(config.target.server.port, 1993);
        assert_eq!(config.target.server.ca_file, Some("/etc/target.pem".into()));
        assert_eq!(config.target.folder, "INBOX");
        assert_eq!(config.target.connections, 10);
        assert_eq!(config.on_move, OnMove::Label);
        assert_eq!(config.source_connections, 0);
        assert_eq!(config.first_run_days, 0);
        assert!(!config.copy_flags);
        assert_eq!(config.daily_upload_limit, None);
        assert_eq!(
            config.target.import,
            Some(ImportConfig {
                max_age: TimeDelta::minutes(90),
                never_spam: true,
                process_for_calendar: false,
                api: "http://127.0.0.1:8080".to_owned(),
            })
        );
    }

    #[test]
    fn the_default_port_depends_on_tls() {
        for (tls, port) in [("implicit", 993), ("starttls", 143), ("none", 143)] {
            let fields = with(&json!({ "source_server": "::1", "source_tls": tls }));
            assert_eq!(read(&fields).unwrap().source.server.port, port, "{tls}");
        }
    }

    #[test]
    fn no_tls_is_accepted_for_loopback_only() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.8.0.1",
            "::1",
            "[::1]",
        ] {
            let fields = with(&json!({ "source_server": host, "source_tls": "none" }));
            assert!(read(&fields).is_ok(), "{host}");
        }
        for host in [
            "mail.example.com",
            "localhost.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "::",
        ] {
            let fields = with(&json!({ "source_server": host, "source_tls": "none" }));
            let line = read(&fields).unwrap_err();
            assert!(
                line.starts_with("source_tls \"none\" is for"),
                "{host}: {line}"
            );
        }
    }

    #[test]
    fn a_server_is_a_host_name_or_an_address_alone() {
        for host in [
            "mail.example.com",
            "192.0.2.1",
            "2001:db8::1",
            "fe80::1%eth0",
            "mail",
        ] {
            let config = read(&with(&json!({ "source_server": host }))).unwrap();
            assert_eq!(config.source.server.host, host);
        }
        let config = read(&with(&json!({ "source_server": "[2001:db8::1]" }))).unwrap();
        assert_eq!(config.source.server.host, "2001:db8::1");
        for host in [
            "imaps://mail.example.com",
            "mail.example.com:993",
            "alice@mail.example.com",
            " mail.example.com",
            "[mail]",
            "[::1]:993",
        ] {
            assert_eq!(
                read(&with(&json!({ "source_server": host }))).unwrap_err(),
                "source_server must be a host name or an address alone (the port is source_port)",
                "{host}"
            );
        }
    }

    #[test]
    fn the_target_user_is_a_mail_address_alone() {
        for user in ["alice@gmail.com", "a.b+c@münchen.example"] {
            let config = read(&with(&json!({ "target_user": user }))).unwrap();
            assert_eq!(config.target.user, user);
        }
        for user in [
            "bob",
            "Bob <bob@gmail.com>",
            "<bob@gmail.com>",
            " bob@gmail.com",
            "bob@gmail.com ",
            "bob @gmail.com",
            "bob@gmail.com\u{a0}",
            "bob@",
            "@gmail.com",
            "bob@gmail.com@gmail.com",
            "bob@gmail.com,carol@gmail.com",
        ] {
            assert_eq!(
                read(&with(&json!({ "target_user": user }))).unwrap_err(),
                "target_user must be a mail address alone, such as alice@gmail.com",
                "{user}"
            );
        }
    }

    #[test]
    fn a_mistake_names_the_field_of_the_source() {
        let cases = [
            (json!({ "source_server": null }), "source_server is missing"),
            (json!({ "source_user": null }), "source_user is missing"),
            (
                json!({ "source_user": "" }),
                "source_user must not be empty",
            ),
            (
                json!({ "source_user": 7 }),
                "source_user must be a string, not a number",
            ),
            (
                json!({ "source_user": "a\r\nb" }),
                "source_user must not contain control characters",
            ),
            (
                json!({ "source_pass": null }),
                "source_pass is missing (or one of source_pass_command and source_pass_file)",
            ),
            (
                json!({ "source_pass": "" }),
                "source_pass must not be empty",
            ),
            (
                json!({ "source_pass": ["s3cret"] }),
                "source_pass must be a string, not a list",
            ),
            (
                // A password all the same, and so not shown.
                json!({ "source_pass": 1234 }),
                "source_pass must be a string, not a number",
            ),
            (
                json!({ "source_pass_file": "p" }),
                "source_pass and source_pass_file cannot be used together; give one",
            ),
            (
                json!({ "source_pass_command": "p", "source_pass_file": "p" }),
                "source_pass and source_pass_command and source_pass_file cannot be used \
                 together; give one",
            ),
            (
                json!({ "source_port": 0 }),
                "source_port must be a whole number from 1 to 65535, not 0",
            ),
            (
                json!({ "source_port": 65536 }),
                "source_port must be a whole number from 1 to 65535, not 65536",
            ),
            (
                json!({ "source_port": "993" }),
                "source_port must be a whole number from 1 to 65535, not a string",
            ),
            (
                json!({ "source_tls": "ssl" }),
                "source_tls must be \"implicit\", \"starttls\" or \"none\"",
            ),
            (
                json!({ "source_tls": true }),
                "source_tls must be a string, not a boolean",
            ),
            (
                json!({ "source_folder": "" }),
                "source_folder must not be empty",
            ),
        ];
        check_mistakes(&cases);
    }

    #[test]
    fn a_mistake_names_any_other_field() {
        let cases = [
            (json!({ "target_user": null }), "target_user is missing"),
            (
                json!({ "target_token_file": null }),
                "target_token_file is missing",
            ),
            (
                json!({ "target_server": "a/b" }),
                "target_server must be a host name or an address alone (the port is target_port)",
            ),
            (
                json!({ "target_port": -1 }),
                "target_port must be a whole number from 1 to 65535, not -1",
            ),
            (
                json!({ "target_connections": 11 }),
                "target_connections must be a whole number from 1 to 10, not 11",
            ),
            (
                json!({ "target_connections": 1.5 }),
                "target_connections must be a whole number from 1 to 10, not 1.5",
            ),
            (
                json!({ "first_run_days": -7 }),
                "first_run_days must be a whole number from 0 to 36525, not -7",
            ),
            (
                json!({ "copy_flags": "no" }),
                "copy_flags must be true or false, not a string",
            ),
            (
                json!({ "daily_upload_limit": "400 MB" }),
                "daily_upload_limit must be a size, such as \"400M\", or \"none\"",
            ),
            (
                json!({ "daily_upload_limit": "0" }),
                "daily_upload_limit must be a size, such as \"400M\", or \"none\"",
            ),
            (
                json!({ "daily_upload_limit": 4 }),
                "daily_upload_limit must be a string, not a number",
            ),
            (
                json!({ "delivery": "smtp" }),
                "delivery must be \"append\" or \"import\"",
            ),
            (
                json!({ "import_max_age": "0h" }),
                "import_max_age must be a duration, such as \"24h\", \"90m\" or \"7d\"",
            ),
            (
                json!({ "target_api": "http://gmail.example.com" }),
                "target_api must be https:// and a host (http:// only to this machine itself)",
            ),
            (
                json!({ "source_sever": "x" }),
                "unknown field \"source_sever\" (did you mean source_server?)",
            ),
            (json!({ "colour\n": "x" }), "unknown field \"colour\\n\""),
        ];
        check_mistakes(&cases);
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let line = read(&json!({
            "source_sever": "mail.example.com",
            "source_user": 7,
            "source_tls": "ssl",
            "source_pass": "s3cret",
            "source_pass_file": "s3cret",
            "target_user": "alice@gmail.com",
            "first_run_days": "7",
        }))
        .unwrap_err();
        assert_eq!(
            line,
            "unknown field \"source_sever\" (did you mean source_server?); \
             source_server is missing; \
             source_user must be a string, not a number; \
             source_pass and source_pass_file cannot be used together; give one; \
             source_tls must be \"implicit\", \"starttls\" or \"none\"; \
             target_token_file is missing; \
             first_run_days must be a whole number from 0 to 36525, not a string"
        );
    }

    #[test]
    fn a_relative_path_is_resolved_beside_config_json_first() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = tempfile::tempdir().unwrap();
        for (place, name) in [
            (&folder, "here.pem"),
            (&folder, "both"),
            (&credentials, "both"),
            (&credentials, "there"),
        ] {
            fs::write(place.path().join(name), "x").unwrap();
        }
        let environment = Environment {
            credentials_directory: Some(credentials.path().to_owned()),
            ..Environment::default()
        };
        let config = folder.path().join("config.json");
        let here = [PathBuf::new()];
        let paths = PathResolver::new(&config, &environment, &here);
        assert_eq!(paths.resolve("here.pem"), folder.path().join("here.pem"));
        assert_eq!(paths.resolve("new.json"), folder.path().join("new.json"));
        assert_eq!(paths.resolve("/a/b"), Path::new("/a/b"));
        // Tests run in the package's folder.
        assert_eq!(paths.resolve("Cargo.toml"), Path::new("Cargo.toml"));
        assert_eq!(
            paths.resolve_credential("both"),
            credentials.path().join("both")
        );
        assert_eq!(
            paths.resolve_credential("there"),
            credentials.path().join("there")
        );
        assert_eq!(
            paths.resolve_credential("here.pem"),
            folder.path().join("here.pem")
        );
        assert_eq!(paths.resolve_credential("/a/b"), Path::new("/a/b"));
    }

    #[test]
    fn the_example_is_valid() {
        let environment = Environment::default();
        let here = [PathBuf::new()];
        let paths = PathResolver::new(Path::new("config.json"), &environment, &here);
        let example = RawConfig::parse(include_bytes!("../../config.json.example")).unwrap();
        let config = config(example, &paths).unwrap();
        assert_eq!(config.target.token_file, Path::new("token.json"));
    }

    /// The names of all fields: a field is known once it was read.
    fn known_fields() -> BTreeSet<&'static str> {
        let environment = Environment::default();
        let here = [PathBuf::new()];
        let paths = PathResolver::new(Path::new("/nowhere/config.json"), &environment, &here);
        let mut raw = RawConfig::parse(b"{}").unwrap();
        fields(&mut raw, &paths).map(drop).unwrap_err();
        raw.known().clone()
    }

    /// The manual page imap-to-gmail-sync.json(5).
    fn manual() -> String {
        include_str!("../../contrib/man/imap-to-gmail-sync.json.5")
            .replace("\\-", "-")
            .replace("\\e", "\\")
    }

    #[test]
    fn the_manual_describes_every_field_and_no_other() {
        let manual = manual();
        let described: BTreeSet<&str> = manual
            .split(".TP\n.B ")
            .skip(1)
            .filter_map(|entry| entry.lines().next())
            .collect();
        assert_eq!(known_fields(), described);
    }

    #[test]
    fn the_examples_in_the_manual_are_valid_and_name_every_field_but_those_of_other_targets() {
        let manual = manual();
        let mut shown = BTreeSet::new();
        for example in manual.split(".EX\n").skip(1) {
            let example = example.split(".EE\n").next().unwrap();
            let value: Value = serde_json::from_str(example).unwrap();
            shown.extend(value.as_object().unwrap().keys().cloned());
            assert_eq!(read(&value).map(drop), Ok(()), "{example}");
        }
        let not_shown: Vec<&str> = known_fields()
            .into_iter()
            .filter(|name| !shown.contains(*name))
            .collect();
        assert_eq!(
            not_shown,
            [
                "target_api",
                "target_ca_file",
                "target_port",
                "target_server"
            ]
        );
    }
}
