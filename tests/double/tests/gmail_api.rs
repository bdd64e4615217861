//! The Gmail API over a bare socket (GMAIL.md 6.2).

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dialogue;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use dialogue::gmail::{HOUR, examined, start};
use double::{ApiFault, ApiRequest, Gmail, GmailApi, GmailOptions, IndexDelay};
use serde_json::{Value, json};

const LABELS: &str = "/gmail/v1/users/me/labels";
const IMPORT: &str = "/upload/gmail/v1/users/me/messages/import?uploadType=multipart";
const RESUMABLE: &str = "/resumable/upload/gmail/v1/users/me/messages/import?uploadType=resumable";
const MESSAGE: &str = "Message-ID: <1@x>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\nHi\r\n";
const BLOCK: usize = 256 << 10;

/// A client of the API with a valid token.
struct Client {
    gmail: Gmail,
    api: GmailApi,
    token: String,
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
    }
}

impl Client {
    fn new(gmail: Gmail) -> Client {
        let api = GmailApi::start(&gmail);
        let token = gmail.tokens().issue(&gmail.user(), 24 * HOUR);
        Client { gmail, api, token }
    }

    /// The response to a request; `None` if the connection is closed without one.
    fn try_send(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Option<Response> {
        let url = self.api.url();
        let host = url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(host).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{fields}Content-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        // Whoever closes the connection early does not read everything.
        let _ = socket.write_all(&[head.as_bytes(), body].concat());
        let mut socket = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !socket.read_line(&mut head).is_ok_and(|length| length > 0) {
                return None;
            }
        }
        let response = Response {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: String::new(),
        };
        let length = response.field("Content-Length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        socket.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).unwrap();
        Some(Response { body, ..response })
    }

    fn send(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Response {
        self.try_send(method, path, fields, body).unwrap()
    }

    fn try_import(&self, parameters: &str, labels: &[&str]) -> Option<Response> {
        let metadata = json!({ "labelIds": labels });
        let body = format!(
            "--b\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n\
             --b\r\nContent-Type: message/rfc822\r\n\r\n{MESSAGE}\r\n--b--\r\n"
        );
        let kind = "Content-Type: multipart/related; boundary=b\r\n";
        self.try_send(
            "POST",
            &format!("{IMPORT}{parameters}"),
            kind,
            body.as_bytes(),
        )
    }

    fn import(&self, labels: &[&str]) -> Response {
        self.try_import("", labels).unwrap()
    }

    /// How many messages are in a folder.
    fn count(&self, folder: &str) -> usize {
        self.gmail.messages(folder).len()
    }

    fn create(&self, name: &str) -> Response {
        let body = json!({ "name": name }).to_string();
        self.send("POST", LABELS, "", body.as_bytes())
    }

    /// Begins a resumable upload of this length; returns its path.
    fn begin(&self, length: Option<usize>) -> String {
        let length = length.map(|length| format!("X-Upload-Content-Length: {length}\r\n"));
        let fields = format!(
            "X-Upload-Content-Type: message/rfc822\r\n{}",
            length.unwrap_or_default()
        );
        let body = json!({ "labelIds": ["INBOX"] }).to_string();
        let begun = self.send("POST", RESUMABLE, &fields, body.as_bytes());
        let location = begun.field("Location").unwrap();
        location.strip_prefix(&self.api.url()).unwrap().to_owned()
    }
}

#[test]
fn a_label_decides_where_an_imported_message_is() {
    for (label, status, [inbox, all, spam, trash]) in [
        ("INBOX", 200, [1, 1, 0, 0]),
        ("STARRED", 200, [0, 1, 0, 0]),
        ("CATEGORY_FORUMS", 200, [0, 1, 0, 0]),
        ("SPAM", 200, [0, 0, 1, 0]),
        ("TRASH", 200, [0, 0, 0, 1]),
        ("SENT", 400, [0, 0, 0, 0]),
        ("DRAFT", 400, [0, 0, 0, 0]),
        ("Label_99", 400, [0, 0, 0, 0]),
    ] {
        let client = Client::new(start());
        assert_eq!(client.import(&[label]).status, status, "{label}");
        let folders = ["INBOX", "[Gmail]/All Mail", "[Gmail]/Spam"];
        let [first, second, third] = folders.map(|folder| client.count(folder));
        let counts = [first, second, third, client.gmail.in_trash().len()];
        assert_eq!(counts, [inbox, all, spam, trash], "{label}");
    }
}

#[test]
fn what_is_taken_for_spam_is_in_spam_alone_unless_the_client_forbids_it() {
    let client = Client::new(start());
    client.api.set_spam(|_| true);
    let answer = client.import(&["INBOX", "UNREAD"]).json();
    assert_eq!(answer["labelIds"], json!(["UNREAD", "SPAM"]));
    assert_eq!(
        (client.count("INBOX"), client.count("[Gmail]/Spam")),
        (0, 1)
    );
    let answer = client.try_import("&neverMarkSpam=true", &["INBOX"]);
    assert_eq!(answer.unwrap().json()["labelIds"], json!(["INBOX"]));
    assert_eq!(
        (client.count("INBOX"), client.count("[Gmail]/Spam")),
        (1, 1)
    );
}

#[test]
fn an_imported_message_has_trace_fields_flags_and_the_date_that_is_asked_for() {
    let client = Client::new(start());
    client.import(&["INBOX", "STARRED", "UNREAD"]);
    let parameters = "&internalDateSource=receivedTime";
    client.try_import(parameters, &["INBOX"]).unwrap();
    let [first, second] = client.gmail.messages("INBOX").try_into().unwrap();
    for message in [&first, &second] {
        let text = String::from_utf8(message.octets.clone()).unwrap();
        assert!(text.starts_with("Delivered-To: ") && text.ends_with(MESSAGE));
    }
    assert_eq!(
        (first.flags, second.flags),
        (vec!["\\Flagged".into()], vec!["\\Seen".into()])
    );
    assert_eq!(
        first.internal_date.to_rfc3339(),
        "2026-11-02T10:00:00+00:00"
    );
    assert!(second.internal_date > first.internal_date + Duration::from_mins(1));
}

#[test]
fn labels_are_listed_with_whose_they_are_and_created_unless_gmail_has_the_name() {
    let client = Client::new(start());
    for (name, status, reason) in [
        ("Bücher/R&D", 200, ""),
        ("bücher/r&d", 409, "aborted"),
        ("Inbox", 409, "aborted"),
        ("Trash", 400, "invalidArgument"),
        ("Drafts", 400, "invalidArgument"),
        ("a^b", 400, "invalidArgument"),
        ("", 400, "invalidArgument"),
    ] {
        let answer = client.create(name);
        assert_eq!(answer.status, status, "{name}");
        let said = answer.json()["error"]["errors"][0]["reason"].clone();
        assert_eq!(said.as_str().unwrap_or_default(), reason, "{name}");
    }
    let listed = client.send("GET", LABELS, "", b"").json();
    let whose = |name: &str| {
        let mut labels = listed["labels"].as_array().unwrap().iter();
        labels.find(|label| label["name"] == name).unwrap()["type"].clone()
    };
    assert_eq!(
        (whose("Bücher/R&D"), whose("TRASH")),
        (json!("user"), json!("system"))
    );
    let wrong = Client {
        token: "wrong".to_owned(),
        ..client
    };
    assert_eq!(wrong.send("GET", LABELS, "", b"").status, 401);
}

#[test]
fn an_import_is_found_by_searches_only_after_the_delay() {
    let gmail = Gmail::start(GmailOptions {
        index_delay: IndexDelay::Searches(1),
        ..GmailOptions::default()
    });
    let client = Client::new(gmail);
    client.import(&["INBOX"]);
    let mut dialogue = examined(&client.gmail, "INBOX");
    for found in ["* SEARCH", "* SEARCH 1"] {
        dialogue.send("s UID SEARCH HEADER Message-ID 1@x");
        assert_eq!(dialogue.receive(), found);
        assert!(dialogue.receive().starts_with("s OK"));
    }
}

#[test]
fn a_resumable_upload_goes_on_behind_its_last_whole_block() {
    let message = [MESSAGE.as_bytes(), &vec![b'x'; 3 * BLOCK]].concat();
    let last = message.len() - 1;
    for length in [Some(message.len()), None] {
        let client = Client::new(start());
        let path = client.begin(length);
        let put = |range: &str, body: &[u8]| {
            let range = format!("Content-Range: bytes {range}/{}\r\n", message.len());
            client.send("PUT", &path, &range, body)
        };
        let part = put(&format!("0-{}", BLOCK + 9), &message[..BLOCK + 10]);
        let kept = format!("bytes=0-{}", BLOCK - 1);
        assert_eq!((part.status, part.field("Range")), (308, Some(&*kept)));
        let asked = put("*", b"");
        assert_eq!((asked.status, asked.field("Range")), (308, Some(&*kept)));
        // What does not begin there is not kept.
        assert_eq!(
            put(&format!("0-{last}"), &message).field("Range"),
            Some(&*kept)
        );
        assert_eq!(client.count("INBOX"), 0);
        let done = put(&format!("{BLOCK}-{last}"), &message[BLOCK..]);
        assert_eq!(done.status, 200);
        assert_eq!(put("*", b"").json(), done.json());
        assert_eq!(client.count("INBOX"), 1);
        assert!(client.gmail.messages("INBOX")[0].octets.ends_with(&message));
        client.api.forget_uploads();
        assert_eq!(put("*", b"").status, 404);
    }
}

#[test]
fn what_is_done_later_is_stored_then_with_all_its_labels() {
    let later = ApiFault::DoneLater(HOUR);
    let client = Client::new(start());
    client.create("Work");
    let listed = client.send("GET", LABELS, "", b"").json();
    let mut labels = listed["labels"].as_array().unwrap().iter();
    let work = labels.find(|label| label["name"] == "Work").unwrap()["id"].clone();
    client.api.once(ApiRequest::is_import, later.clone());
    assert!(
        client
            .try_import("", &["INBOX", work.as_str().unwrap()])
            .is_none()
    );
    assert_eq!(client.count("INBOX"), 0);
    let path = client.begin(Some(MESSAGE.len()));
    client.api.once(ApiRequest::is_part, later);
    assert!(
        client
            .try_send("PUT", &path, "", MESSAGE.as_bytes())
            .is_none()
    );
    let ask = || {
        let range = format!("Content-Range: bytes */{}\r\n", MESSAGE.len());
        client.send("PUT", &path, &range, b"")
    };
    assert_eq!(ask().status, 503);
    client.gmail.clock().advance(HOUR);
    assert_eq!(ask().status, 200);
    assert_eq!((client.count("INBOX"), client.count("Work")), (2, 1));
}

#[test]
fn faults_of_uploads_keep_name_or_wait_as_planned() {
    let client = Client::new(start());
    let path = client.begin(Some(MESSAGE.len()));
    client.api.once(ApiRequest::is_part, ApiFault::Keep(3));
    let part = |from: usize| {
        let fields = format!(
            "Content-Range: bytes {from}-{}/{}\r\n",
            MESSAGE.len() - 1,
            MESSAGE.len()
        );
        client.send("PUT", &path, &fields, &MESSAGE.as_bytes()[from..])
    };
    let kept = part(0);
    assert_eq!((kept.status, kept.field("Range")), (308, Some("bytes=0-2")));
    let pause = Duration::from_millis(200);
    client
        .api
        .once(ApiRequest::is_part, ApiFault::PauseAfter(1, pause));
    let before = std::time::Instant::now();
    assert_eq!(part(3).status, 200);
    assert!(before.elapsed() >= pause);
    assert_eq!(client.count("INBOX"), 1);
    client
        .api
        .once(ApiRequest::is_import, ApiFault::Elsewhere("https://x/1"));
    let begun = client.send("POST", RESUMABLE, "", b"{}");
    assert_eq!(
        (begun.status, begun.field("Location")),
        (200, Some("https://x/1"))
    );
}
