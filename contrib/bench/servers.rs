//! Two Dovecots, and the line to them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::delay_proxy::DelayProxy;
use crate::dovecot::{Client, Dovecot, Introspection, Settings};
use crate::machine;
use crate::mail::{Generator, Kind};

/// The target folder of both programs. Ours copies to All Mail, or to a folder whose messages are there, too.
pub const TARGET_FOLDER: &str = "[Gmail]/Alle Nachrichten";

/// One connection for each that a program may open, and for those that read what arrived.
const MORE: &str = "mail_max_userip_connections = 100\n";

/// The target offers LITERAL-, as Gmail does, and not LITERAL+.
const CAPABILITIES: [&str; 2] = [
    "imap_capability = IMAP4rev1 SASL-IR ID ENABLE IDLE NAMESPACE UNSELECT CHILDREN UIDPLUS MOVE CONDSTORE \
     ESEARCH LIST-EXTENDED LIST-STATUS STATUS=SIZE SPECIAL-USE LITERAL-\n",
    "imap_capability {\n  LITERAL+ = no\n  LITERAL- = yes\n}\n",
];

/// Source and target. Each mailbox is that of a user, and each run has a user of its own at the target.
pub struct Servers {
    pub source: Dovecot,
    pub target: Dovecot,
    introspection: Introspection,
    /// The octets of each source mailbox that is filled.
    filled: HashMap<String, u64>,
    target_users: usize,
}

/// The ports to connect to, with or without delay.
pub struct Line {
    pub source: u16,
    pub target: u16,
    _proxies: Vec<DelayProxy>,
}

/// A mailbox at the source.
#[derive(Clone)]
pub struct SourceMailbox {
    pub user: String,
    pub messages: usize,
    pub octets: u64,
}

impl Servers {
    pub fn start() -> Servers {
        let introspection = Introspection::start();
        let capabilities = CAPABILITIES[usize::from(!machine::dovecot().starts_with("2.3"))];
        let start = |introspection, more: &str| {
            Dovecot::start_with(Settings {
                introspection,
                more: format!("{MORE}{more}"),
                ..Settings::default()
            })
        };
        Servers {
            source: start(None, ""),
            target: start(Some(introspection.url()), capabilities),
            introspection,
            filled: HashMap::new(),
            target_users: 0,
        }
    }

    /// Without a delay there is no proxy.
    pub fn line(&self, round_trip: Duration) -> Line {
        let (source, target) = (self.source.server().port, self.target.server().port);
        if round_trip.is_zero() {
            return Line {
                source,
                target,
                _proxies: Vec::new(),
            };
        }
        let proxies = [source, target].map(|port| DelayProxy::start(port, round_trip));
        Line {
            source: proxies[0].port(),
            target: proxies[1].port(),
            _proxies: proxies.into(),
        }
    }

    /// Fills a mailbox, unless that was done before.
    pub fn mailbox(&mut self, kind: Kind, messages: usize) -> SourceMailbox {
        let name = match kind {
            Kind::Ordinary => "ordinary",
            Kind::Large => "large",
            Kind::Small => "small",
        };
        let user = format!("{name}-{messages}");
        let octets = match self.filled.get(&user) {
            Some(octets) => *octets,
            None => self.fill(&user, kind, messages),
        };
        self.filled.insert(user.clone(), octets);
        SourceMailbox {
            user,
            messages,
            octets,
        }
    }

    fn fill(&self, user: &str, kind: Kind, messages: usize) -> u64 {
        eprintln!("storing {messages} messages at the source");
        let mut client = self.source.client(user);
        let mut generator = Generator::new();
        let mut octets = 0;
        for (number, size) in generator.sizes(kind, messages).into_iter().enumerate() {
            let message = generator.message(size);
            let arrival = generator.arrival(number, messages);
            client.append("INBOX", "\\Seen", &arrival, &message);
            octets += message.len() as u64;
        }
        // Dovecot now has in its cache what each program asks for.
        client.command("EXAMINE INBOX");
        if messages > 0 {
            client.command("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE)");
        }
        octets
    }

    /// A user with an empty mailbox at the target, and a valid token.
    pub fn new_target_user(&mut self) -> String {
        self.target_users += 1;
        let user = format!("run-{}@example.com", self.target_users);
        self.introspection.issue(&user, &user);
        user
    }

    /// Asserts that a target mailbox has exactly the messages of the source.
    pub fn verify(&self, source: &SourceMailbox, target_user: &str) {
        let mut client = self.target.client(target_user);
        let response = status(&mut client, "MESSAGES SIZE");
        let [messages, octets] = ["MESSAGES ", "SIZE "].map(|name| number_after(&response, name));
        assert_eq!(messages, source.messages as u64, "messages at the target");
        // mbsync may add a line to the header.
        let added = octets.checked_sub(source.octets);
        assert!(
            added.is_some_and(|added| added <= 100 * messages),
            "{octets} octets at the target, {} at the source",
            source.octets
        );
    }

    /// Deletes the mail of a run.
    pub fn remove(&self, target_user: &str) {
        let _ = fs::remove_dir_all(self.target.mail_folder(target_user));
    }
}

/// The response to STATUS of the target folder.
pub fn status(client: &mut Client, items: &str) -> String {
    let response = client.command(&format!("STATUS \"{TARGET_FOLDER}\" ({items})"));
    String::from_utf8_lossy(&response).into_owned()
}

/// The number that follows a word in a response.
pub fn number_after(response: &str, word: &str) -> u64 {
    let (_, rest) = response.split_once(word).expect("the word is there");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    let number = digits.and_then(|digits| digits.parse().ok());
    number.expect("a number")
}
