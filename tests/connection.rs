//! Opening connections to a real server: TLS in all its forms, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may stop at what it does not expect"
)]

mod dovecot;

use dovecot::{Dovecot, PASSWORD};
use imap_to_gmail_sync::config::Server;
use imap_to_gmail_sync::connection::{Patience, Trust};
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::session::{Login, Session, Unopened};

fn open(server: &Server) -> Result<Session, Unopened> {
    let login = Login::Password {
        user: "alice".to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
    };
    let trust = Trust::for_server(server).unwrap();
    Session::open(server, &trust, Patience::default(), &login)
}

#[test]
fn a_session_opens_over_tls_by_starttls_and_in_plain_text_to_loopback() {
    let dovecot = Dovecot::start();
    for server in [
        dovecot.server(),
        dovecot.server_by_starttls(),
        dovecot.server_in_plain_text(),
    ] {
        let mut session = open(&server).unwrap();
        let inbox = session.examine("INBOX").unwrap();
        assert_eq!(inbox.exists, 0);
        session.logout();
    }
}
