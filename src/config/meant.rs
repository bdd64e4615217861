//! From what is written in `config.json` to what it means.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::places::Places;
use super::written::{Checked, Written};
use super::{Config, Server, SourceConfig, TargetConfig, Tls};
use crate::secret::{Password, Secret};
use crate::size::Size;

const GMAIL: &str = "imap.gmail.com";
const IMAPS: u16 = 993;
const IMAP: u16 = 143;

/// Gmail allows 15 connections an account; phones and the lookups need some.
const MOST_CONNECTIONS: usize = 10;
const USUAL_CONNECTIONS: usize = 4;

const USUAL_DAYS: u32 = 7;
/// A century; more is a slip of the hand.
const MOST_DAYS: u32 = 36_525;

/// Gmail locks an account at about 500 MB a day, and phones send, too.
const USUAL_DAILY_LIMIT: u64 = 400 << 20;

/// What all fields mean; else all mistakes in one line.
pub(super) fn config(mut written: Written, places: &Places<'_>) -> Result<Config, String> {
    let config = fields(&mut written, places);
    match (written.mistakes(), config) {
        (None, Ok(config)) => Ok(config),
        (mistakes, _) => Err(mistakes.unwrap_or_default()),
    }
}

// Here and below, every field is asked for before the first mistake ends anything.
fn fields(written: &mut Written, places: &Places<'_>) -> Checked<Config> {
    let source = source(written, places);
    let target = target(written, places);
    let first_run_days = written.number("first_run_days", &(0..=MOST_DAYS));
    let copy_flags = written.switch("copy_flags");
    let daily_upload_limit = daily_upload_limit(written);
    Ok(Config {
        source: source?,
        target: target?,
        first_run_days: first_run_days?.unwrap_or(USUAL_DAYS),
        copy_flags: copy_flags?.unwrap_or(true),
        daily_upload_limit: daily_upload_limit?,
        credentials_stamp: String::new(),
        warnings: Vec::new(),
    })
}

fn source(written: &mut Written, places: &Places<'_>) -> Checked<SourceConfig> {
    let host = written.required("source_server");
    let host = host.and_then(|host| host_alone(written, "source_server", host));
    let user = written.required("source_user");
    let password = password(written, places);
    let port = port(written, "source_port");
    let tls = source_tls(written, host.as_deref().ok());
    let ca_file = file(written, "source_ca_file", places);
    let tls_name = written.text("source_tls_name");
    let folder = folder(written, "source_folder");
    let (host, tls) = (host?, tls?);
    let usual_port = if tls == Tls::Implicit { IMAPS } else { IMAP };
    Ok(SourceConfig {
        server: Server {
            port: port?.unwrap_or(usual_port),
            tls,
            tls_name: tls_name?.unwrap_or_else(|| host.clone()),
            ca_file: ca_file?,
            host,
        },
        user: user?,
        password: password?,
        folder: folder?,
    })
}

fn target(written: &mut Written, places: &Places<'_>) -> Checked<TargetConfig> {
    let user = written.required("target_user");
    let token_file = written.required("target_token_file");
    let host = written.text("target_server");
    let host = host.map(|host| host.unwrap_or_else(|| GMAIL.to_owned()));
    let host = host.and_then(|host| host_alone(written, "target_server", host));
    let port = port(written, "target_port");
    let ca_file = file(written, "target_ca_file", places);
    let folder = folder(written, "target_folder");
    let connections = written.number("target_connections", &(1..=MOST_CONNECTIONS));
    let host = host?;
    Ok(TargetConfig {
        server: Server {
            port: port?.unwrap_or(IMAPS),
            tls: Tls::Implicit,
            tls_name: host.clone(),
            ca_file: ca_file?,
            host,
        },
        user: user?,
        token_file: places.of_file(&token_file?),
        folder: folder?,
        connections: connections?.unwrap_or(USUAL_CONNECTIONS),
    })
}

/// The one of three fields that says where the source's password comes from.
fn password(written: &mut Written, places: &Places<'_>) -> Checked<Password> {
    let fields = ["source_pass", "source_pass_command", "source_pass_file"];
    let given: Vec<&str> = fields
        .into_iter()
        .filter(|name| written.has(name))
        .collect();
    match given.as_slice() {
        [] => Err(written
            .note("source_pass is missing (or one of source_pass_command and source_pass_file)")),
        ["source_pass"] => {
            let password = written.raw("source_pass")?.unwrap_or_default();
            Ok(Password::Given(Secret::new(password)))
        }
        ["source_pass_command"] => {
            let command = written.raw("source_pass_command")?.unwrap_or_default();
            Ok(Password::Command(Secret::new(command)))
        }
        ["source_pass_file"] => {
            let name = written.text("source_pass_file")?.unwrap_or_default();
            Ok(Password::File(places.of_credential(&name)))
        }
        several => Err(written.note(format_args!(
            "{} exclude each other, give one",
            several.join(" and ")
        ))),
    }
}

fn source_tls(written: &mut Written, host: Option<&str>) -> Checked<Tls> {
    match written.text("source_tls")?.as_deref() {
        None | Some("implicit") => Ok(Tls::Implicit),
        Some("starttls") => Ok(Tls::StartTls),
        Some("none") if host.is_none_or(is_loopback) => Ok(Tls::None),
        Some("none") => Err(written.note(
            "source_tls \"none\" is for a source_server on this machine only (localhost, 127.0.0.1)",
        )),
        Some(_) => {
            Err(written.note("source_tls must be \"implicit\", \"starttls\" or \"none\""))
        }
    }
}

fn port(written: &mut Written, name: &str) -> Checked<Option<u16>> {
    written.number(name, &(1..=u16::MAX))
}

fn file(written: &mut Written, name: &str, places: &Places<'_>) -> Checked<Option<PathBuf>> {
    let file = written.text(name)?;
    Ok(file.map(|file| places.of_file(&file)))
}

/// The inbox has one name in any case (RFC 3501 5.1), and so it has one account in the state.
fn folder(written: &mut Written, name: &str) -> Checked<String> {
    const INBOX: &str = "INBOX";
    let folder = written.text(name)?.unwrap_or_else(|| INBOX.to_owned());
    Ok(if folder.eq_ignore_ascii_case(INBOX) {
        INBOX.to_owned()
    } else {
        folder
    })
}

fn daily_upload_limit(written: &mut Written) -> Checked<Option<u64>> {
    const NAME: &str = "daily_upload_limit";
    let Some(text) = written.text(NAME)? else {
        return Ok(Some(USUAL_DAILY_LIMIT));
    };
    if text == "none" {
        return Ok(None);
    }
    match text.parse().map(Size::octets) {
        Ok(octets) if octets > 0 => Ok(Some(octets)),
        _ => Err(written.note(format_args!(
            "{NAME} must be a size, such as \"400M\", or \"none\""
        ))),
    }
}

/// A host name or address, and nothing of what people write around it.
fn host_alone(written: &mut Written, name: &str, host: String) -> Checked<String> {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = address.filter(|address| is_ipv6(address)) {
        return Ok(address.to_owned());
    }
    let is_strange = |character: char| character.is_whitespace() || "/@[]".contains(character);
    if host.contains(is_strange) || (host.contains(':') && !is_ipv6(&host)) {
        let port = name.replace("server", "port");
        return Err(written.note(format_args!(
            "{name} must be a host name or an address alone (the port is {port})"
        )));
    }
    Ok(host)
}

/// Also with a zone: `fe80::1%eth0` (RFC 4007).
fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
