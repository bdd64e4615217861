//! The hosts that may receive the refresh token and the client secret.

use std::path::Path;

use oauth2::url::Url;

use crate::config::is_loopback;
use crate::untrusted::Untrusted;

/// The hosts of Google's authorization and token endpoints.
const GOOGLE_HOSTS: [&str; 3] = [
    "accounts.google.com",
    "oauth2.googleapis.com",
    "www.googleapis.com",
];

/// A warning if the address, a field of the file, is neither Google's nor on this host. A file that
/// someone else provides could collect secrets by it.
pub(super) fn foreign_host_warning(file: &Path, field: &str, address: &Url) -> Option<String> {
    let host = address.host_str().unwrap_or_default();
    if GOOGLE_HOSTS.contains(&host) || is_loopback(host.trim_matches(['[', ']'])) {
        return None;
    }
    let (file, host) = (Untrusted::path(file), Untrusted::new(host));
    let effect = match field {
        "auth_uri" => "asks you to sign in",
        _ => "gets the refresh token and the client secret",
    };
    Some(format!(
        "{file}: {field} names {host}, which is not Google's and {effect}; unless that host is \
         yours, use the file that Google provides"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_google_and_this_host_get_secrets_without_a_warning() {
        let warning = |address: &str| {
            let address = Url::parse(address).unwrap();
            foreign_host_warning(Path::new("token.json"), "token_uri", &address)
        };
        for known in [
            "https://oauth2.googleapis.com/token",
            "https://OAUTH2.googleapis.com:443/token",
            "https://accounts.google.com/o/oauth2/token",
            "https://www.googleapis.com/oauth2/v4/token",
            "http://127.0.0.1:8080/token",
            "http://[::1]:8080/token",
            "https://localhost/token",
        ] {
            assert_eq!(warning(known), None, "{known}");
        }
        for other in [
            "https://oauth2.googleapis.com.example.com/token",
            "https://oauth2.googleapis.com@example.com/token",
            "https://example.com/oauth2.googleapis.com",
            "https://googleapis.com/token",
        ] {
            assert!(warning(other).is_some(), "{other}");
        }
        assert_eq!(
            warning("https://example.com/token").unwrap(),
            "token.json: token_uri names example.com, which is not Google's and gets the refresh \
             token and the client secret; unless that host is yours, use the file that Google \
             provides"
        );
    }
}
