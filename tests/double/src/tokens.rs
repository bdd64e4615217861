//! The access tokens that Gmail accepts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::Clock;

/// The scope for IMAP.
pub(crate) const MAIL_SCOPE: &str = "https://mail.google.com/";

#[derive(Debug, Clone)]
struct Token {
    user: String,
    expires: DateTime<Utc>,
    scope: String,
}

#[derive(Default)]
struct Table {
    tokens: BTreeMap<String, Token>,
    issued: usize,
}

/// The access tokens of a Gmail double; clones share them.
#[derive(Clone)]
pub struct Tokens {
    table: Arc<Mutex<Table>>,
    clock: Clock,
}

impl Tokens {
    pub(crate) fn new(clock: Clock) -> Tokens {
        Tokens {
            table: Arc::default(),
            clock,
        }
    }

    /// Issues an access token for a user with this lifetime.
    #[must_use]
    pub fn issue(&self, user: &str, lifetime: Duration) -> String {
        self.issue_for(user, lifetime, MAIL_SCOPE)
    }

    /// Issues an access token of another scope.
    #[must_use]
    pub fn issue_for(&self, user: &str, lifetime: Duration, scope: &str) -> String {
        let mut table = self.table.lock().unwrap();
        table.issued += 1;
        let text = format!("ya29.a0double-{:04}_access", table.issued);
        let token = Token {
            user: user.to_owned(),
            expires: self.clock.now() + lifetime,
            scope: scope.to_owned(),
        };
        table.tokens.insert(text.clone(), token);
        text
    }

    /// Revokes a token.
    pub fn revoke(&self, token: &str) {
        self.table.lock().unwrap().tokens.remove(token);
    }

    /// Revokes every token of a user, as a changed password does.
    pub fn revoke_all(&self, user: &str) {
        let mut table = self.table.lock().unwrap();
        table.tokens.retain(|_, token| token.user != user);
    }

    /// The number of tokens issued so far.
    #[must_use]
    pub fn issued(&self) -> usize {
        self.table.lock().unwrap().issued
    }

    /// The expiry of this token if it admits the user.
    pub(crate) fn token_expiry(&self, user: &str, token: &str) -> Option<DateTime<Utc>> {
        let table = self.table.lock().unwrap();
        let token = table.tokens.get(token)?;
        let is_good = token.user == user
            && token.expires > self.clock.now()
            && token.scope.split(' ').any(|scope| scope == MAIL_SCOPE);
        is_good.then_some(token.expires)
    }
}
