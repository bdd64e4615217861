//! Hostile texts of servers and messages forge no line, no key, and no terminal escape.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::thread;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::program::Home;

/// The keys that the manual page documents.
const KEYS: [&str; 14] = [
    "time",
    "level",
    "pid",
    "message",
    "message_id",
    "uid",
    "gmail_uid",
    "octets",
    "seconds",
    "copied",
    "already_there",
    "known",
    "parked",
    "refused",
];

/// A line as the log has it. Whatever follows a line end would be one, if it were not escaped.
const FORGED: &str = "2026-11-28T14:00:00+00:00 error FORGED";

/// Texts of servers.
fn texts() -> Vec<Vec<u8>> {
    let line_ends = [
        "\n", "\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}",
    ];
    let mut texts: Vec<Vec<u8>> = line_ends
        .iter()
        .map(|end| format!("a{end}{FORGED}{end}<3>FORGED").into_bytes())
        .collect();
    let others: [&[u8]; 27] = [
        // Terminal escapes, also as single octets and as C1 control characters.
        b"\x1b[2J\x1b[1;31mred",
        b"\x1b]0;title\x07",
        b"\x1b]8;;http://x\x1b\\link",
        b"\x9b2J\x90",
        "\u{9b}2J\u{9d}0;t\u{9c}".as_bytes(),
        b"back\x08\x08\x08\x7f",
        b"nul\0nul",
        // Reading direction.
        "\u{202e}FORGED\u{202c}".as_bytes(),
        "\u{202a}\u{202b}\u{202d}\u{2066}\u{2067}\u{2068}\u{2069}".as_bytes(),
        "\u{61c}\u{200e}\u{200f}".as_bytes(),
        // Invisible characters.
        "a\u{200b}b\u{200c}c\u{200d}d\u{2060}e\u{feff}f\u{ad}g\u{180e}h".as_bytes(),
        "\u{fff9}a\u{fffa}b\u{fffb}".as_bytes(),
        "\u{e0001}\u{e0041}\u{e007f}\u{e0101}".as_bytes(),
        // No UTF-8: a wrong octet, a cut and an overlong sequence, a lone surrogate, too high a character.
        b"\xff\xfe",
        b"cut \xe2\x80",
        b"overlong \xc0\x8a \xe0\x80\x8a",
        b"surrogate \xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        // JSON.
        br#"","level":"error","FORGED":"x"#,
        br#"\","level":"error","FORGED":"x"#,
        br#"\u000a\u001b[2J{"FORGED":1}"#,
        br#"'"`\/{}[],:"#,
        // What the journal, syslog and formatting take for their own.
        b"<3>FORGED",
        b"<22>Nov 28 14:00:00 FORGED[1]: x",
        b"level=error FORGED=1 %s %n {} {0} ${HOME} $(id) `id`",
        "&AAo-&ABs-[2J &IC4- &2AA- &2AA-&3AA- &IC8gKA-".as_bytes(),
        "combining \u{301}\u{301}\u{301} \u{1f468}\u{200d}\u{1f469}".as_bytes(),
    ];
    texts.extend(others.iter().map(|text| text.to_vec()));
    texts.push(b"x".repeat(20_000));
    texts.push("\u{202e}".repeat(20_000).into_bytes());
    texts
}

/// The texts, short ones together: few runs show them all. What ends a line of the protocol, or begins
/// with a priority, stays alone.
fn groups() -> Vec<Vec<u8>> {
    let mut groups: Vec<Vec<u8>> = Vec::new();
    let mut joined: Vec<u8> = Vec::new();
    for text in texts() {
        if text.contains(&b'\n') || text.starts_with(b"<") || text.len() > 300 {
            groups.push(text);
            continue;
        }
        if joined.len() + text.len() > 300 {
            groups.push(std::mem::take(&mut joined));
        }
        joined.extend_from_slice(&text);
        joined.extend_from_slice(b" | ");
    }
    groups.push(joined);
    groups
}

/// Where a server says the text.
#[derive(Debug, Clone, Copy)]
enum Place {
    Greeting,
    Alert,
    Rejection,
    Bye,
    Folder,
    FolderLiteral,
}

const PLACES: [Place; 6] = [
    Place::Greeting,
    Place::Alert,
    Place::Rejection,
    Place::Bye,
    Place::Folder,
    Place::FolderLiteral,
];

/// A source that says a text in one place; returns its port. It ends with the test.
fn serve(place: Place, text: Vec<u8>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The client may have closed the connection.
            let _ = converse(&stream, place, &text);
        }
    });
    port
}

fn converse(stream: &TcpStream, place: Place, text: &[u8]) -> std::io::Result<()> {
    let say = |parts: &[&[u8]]| {
        let mut stream = stream;
        stream.write_all(&[&parts.concat()[..], b"\r\n"].concat())
    };
    match place {
        Place::Greeting => return say(&[b"* BYE ", text]),
        _ => say(&[b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready"])?,
    }
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        let tag = tag.as_bytes();
        let command = command.split(' ').next().unwrap_or_default();
        match (place, command) {
            (Place::Alert, "AUTHENTICATE") => {
                say(&[b"* NO [ALERT] ", text])?;
                say(&[b"* OK [ALERT] ", text])?;
                say(&[tag, b" NO [ALERT] ", text])?;
            }
            (Place::Rejection, "AUTHENTICATE") => {
                say(&[tag, b" NO ", text])?;
                // The client waits for the rest of what it takes for a cut line.
                if text.contains(&b'\n') {
                    return Ok(());
                }
            }
            (Place::Bye, "AUTHENTICATE") => return say(&[b"* BYE ", text]),
            (_, "EXAMINE") => say(&[tag, b" NO [NONEXISTENT] ", text])?,
            (Place::Folder, "LIST") => {
                let quoted: Vec<u8> = text
                    .iter()
                    .flat_map(|octet| match octet {
                        b'"' | b'\\' => vec![b'\\', *octet],
                        octet => vec![*octet],
                    })
                    .collect();
                say(&[b"* LIST () \"/\" \"", &quoted, b"\""])?;
                say(&[tag, b" OK"])?;
            }
            (Place::FolderLiteral, "LIST") => {
                let length = text.len().to_string();
                say(&[b"* LIST () \"/\" {", length.as_bytes(), b"}\r\n", text])?;
                say(&[tag, b" OK"])?;
            }
            _ => say(&[tag, b" OK"])?,
        }
    }
    Ok(())
}

/// Characters that a log may not contain, by their Unicode properties.
fn is_harmful(character: char) -> bool {
    const LINE_ENDS: [char; 2] = ['\u{2028}', '\u{2029}'];
    const BIDI_CONTROLS: [char; 12] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
        '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
    ];
    const INVISIBLE: [char; 10] = [
        '\u{ad}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}',
        '\u{fff9}', '\u{fffa}', '\u{fffb}',
    ];
    character.is_control()
        || LINE_ENDS.contains(&character)
        || BIDI_CONTROLS.contains(&character)
        || INVISIBLE.contains(&character)
        || ('\u{e0000}'..='\u{e0fff}').contains(&character)
}

/// The lines of a log, which are harmless text of bounded length.
fn lines<'a>(log: &'a [u8], what: &str) -> Vec<&'a str> {
    let log = std::str::from_utf8(log).unwrap_or_else(|error| panic!("{what}: {error}"));
    let Some(log) = log.strip_suffix('\n') else {
        assert_eq!(log, "", "{what}: its last line has no end");
        return Vec::new();
    };
    let lines: Vec<&str> = log.split('\n').collect();
    for line in &lines {
        let harmful: Vec<char> = line.chars().filter(|it| is_harmful(*it)).collect();
        assert_eq!(harmful, [], "{what}: {line:?}");
        assert!(line.len() < 20_000, "{what}: {} octets", line.len());
    }
    lines
}

fn assert_text(log: &[u8], what: &str) {
    for line in lines(log, what) {
        let words: Vec<&str> = line.split_whitespace().collect();
        DateTime::parse_from_rfc3339(words[0]).unwrap_or_else(|_| panic!("{what}: {line}"));
        let levels = ["error", "warn", "info", "debug"];
        assert!(levels.contains(&words[1]), "{what}: {line}");
        assert!(!words[2].starts_with("FORGED"), "{what}: {line}");
    }
}

fn assert_json(log: &[u8], what: &str) {
    let allowed = BTreeSet::from(KEYS);
    for line in lines(log, what) {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{what}: {line}"));
        let keys: BTreeSet<&str> = object
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert!(keys.is_subset(&allowed), "{what}: {line}");
        assert!(KEYS[..4].iter().all(|key| keys.contains(key)), "{line}");
        for key in KEYS {
            assert!(line.matches(&format!("\"{key}\":")).count() <= 1, "{line}");
        }
        assert_eq!(object["pid"].as_u64().map(|pid| pid > 1), Some(true));
        // The text itself contains nothing harmful, however JSON escapes it.
        for text in [&object["message"], &object["message_id"]] {
            let text = text.as_str().unwrap_or_default();
            assert!(!text.chars().any(is_harmful), "{what}: {text:?}");
        }
    }
}

/// Under the journal each line begins with the program's own priority; the journal reads one only.
fn assert_journal(log: &[u8], what: &str) {
    for line in lines(log, what) {
        let rest = ["<3>", "<4>", "<5>", "<7>"]
            .iter()
            .find_map(|priority| line.strip_prefix(priority));
        let rest = rest.unwrap_or_else(|| panic!("{what}: {line}"));
        assert!(!rest.starts_with("FORGED"), "{what}: {line}");
    }
}

/// Runs the program once in each form; returns all logs.
fn assert_harmless(home: &Home, what: &str, mut prepare: impl FnMut()) -> Vec<u8> {
    let mut all = Vec::new();
    for debug in [&[][..], &["--debug"]] {
        let mut run = |form: &[&str], journal: Option<&File>| {
            prepare();
            let mut command = home.command();
            command.args(form).args(debug);
            if let Some(file) = journal {
                let stream = file.metadata().unwrap();
                command
                    .env(
                        "JOURNAL_STREAM",
                        format!("{}:{}", stream.dev(), stream.ino()),
                    )
                    .stdout(Stdio::from(file.try_clone().unwrap()));
            }
            let output = command.output().unwrap();
            assert_ne!(output.status.code(), Some(70), "{what}");
            all.extend_from_slice(&output.stdout);
            output
        };
        let text = run(&[], None);
        assert_text(&text.stdout, what);
        assert!(lines(&text.stderr, what).len() <= 1, "{what}");
        let json = run(&["--log-format", "json"], None);
        assert_json(&json.stdout, what);
        let file = File::create(home.path("journal")).unwrap();
        run(&[], Some(&file));
        assert_journal(&fs::read(home.path("journal")).unwrap(), what);
    }
    all
}

#[test]
fn no_text_of_a_server_forges_a_line() {
    thread::scope(|scope| {
        for place in PLACES {
            scope.spawn(move || {
                let home = Home::new();
                let mut shown = 0;
                for text in groups() {
                    let what = format!("{place:?} {}", text[..text.len().min(80)].escape_ascii());
                    home.configure(&json!({
                        "source_server": "127.0.0.1", "source_port": serve(place, text),
                        "source_tls": "none", "source_ca_file": null, "source_folder": "FORGED",
                    }));
                    let log = assert_harmless(&home, &what, || {
                        // Another failure of the log-in rests otherwise.
                        for name in ["sync_state.json", "sync_state.json.journal"] {
                            let _ = fs::remove_file(home.path(name));
                        }
                    });
                    let log = String::from_utf8_lossy(&log);
                    shown += usize::from(log.contains("FORGED"));
                }
                // The texts do reach the log.
                assert!(shown >= 3, "{place:?}: {shown}");
            });
        }
    });
}

#[test]
fn no_message_id_subject_or_sender_forges_a_line() {
    let home = Home::new();
    let mut number = 0;
    for text in groups() {
        let what = text[..text.len().min(80)].escape_ascii().to_string();
        let log = assert_harmless(&home, &what, || {
            number += 1;
            let number = number.to_string();
            let header: [&[u8]; 9] = [
                b"Message-ID: <",
                number.as_bytes(),
                &text,
                b"@x>\r\nSubject: ",
                &text,
                b"\r\nFrom: ",
                &text,
                b" <a@x>\r\n",
                b"\r\nbody\r\n",
            ];
            let now = chrono::Utc::now().fixed_offset();
            home.source.deliver(&header.concat(), now, &[]);
        });
        let log = String::from_utf8_lossy(&log);
        assert!(log.contains("copied "), "{what}: {log}");
    }
}
