//! The exchange of the code for a token: rejections, failures, delays.

use std::thread;
use std::time::Duration;

use double::{EndpointFault, token_rejections};
use serde_json::Value;

use crate::running_auth::{
    RunningAuth, assert_nothing_saved, auth, consent, get, home, redirect_of,
};

/// The page's title, the exit status and the error line, after this change to the token endpoint.
fn result_after(change: impl FnOnce(&mut double::TokenOptions)) -> (String, i32, String) {
    let home = home();
    let running = RunningAuth::start(&mut auth(&home));
    let back = redirect_of(&running.address());
    home.endpoint.change(change);
    let page = get(&back);
    let run = running.wait_for_exit();
    assert_nothing_saved(&home);
    assert!(!format!("{run:?}").contains("GOCSPX-double"), "{run:?}");
    (page.title().to_owned(), run.status.unwrap(), run.stderr)
}

#[test]
fn each_rejection_by_google_is_reported_with_its_cause() {
    let refusals = token_rejections();
    assert_eq!(refusals.len(), 18);
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = refusals
            .iter()
            .map(|refusal| {
                scope.spawn(|| result_after(|options| options.refusal = Some(refusal.clone())))
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for ((status, body), (title, exit, line)) in refusals.iter().zip(&results) {
        let error: Value = serde_json::from_str(body).unwrap_or_default();
        let code = error["error"].as_str().unwrap_or_default();
        let case = format!("{status} {body}: {title} | {exit} | {line}");
        match code {
            "invalid_grant" => {
                assert_eq!(
                    (title.as_str(), *exit),
                    ("This consent has expired", 77),
                    "{case}"
                );
                assert!(line.contains("invalid_grant"), "{case}");
                assert!(line.ends_with("a few minutes: run this again\n"), "{case}");
            }
            "invalid_client"
            | "deleted_client"
            | "invalid_request"
            | "redirect_uri_mismatch"
            | "unsupported_grant_type" => {
                assert_eq!(
                    (title.as_str(), *exit),
                    ("The token was not saved", 77),
                    "{case}"
                );
                assert!(
                    line.contains(code) && line.contains("client_secret.json"),
                    "{case}"
                );
            }
            _ => {
                assert_eq!(
                    (title.as_str(), *exit),
                    ("The token was not saved", 69),
                    "{case}"
                );
                assert!(
                    line.contains(&format!("responds with HTTP status {status}")),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn a_failing_token_endpoint_saves_nothing() {
    let faults = [
        (EndpointFault::Cut, "it closed the connection"),
        (
            EndpointFault::Redirect("http://127.0.0.1:1/".to_owned()),
            "which is not followed",
        ),
        (
            EndpointFault::Huge(2 << 20),
            "the response body is larger than request limit",
        ),
        (EndpointFault::HalfAnswer, "it closed the connection"),
        (
            EndpointFault::ContentType("text/html".to_owned()),
            "sends a response that cannot be read",
        ),
        // The lost response belongs to the request that used up the code.
        (EndpointFault::AnswerLost, "it closed the connection"),
    ];
    thread::scope(|scope| {
        for (fault, why) in faults {
            scope.spawn(move || {
                let (title, status, line) = result_after(|options| options.fault = fault);
                assert_eq!(
                    (title.as_str(), status),
                    ("The token was not saved", 69),
                    "{line}"
                );
                assert!(line.contains(why), "{line}");
                assert!(line.contains("nothing was saved; run this again"), "{line}");
            });
        }
    });
}

#[test]
fn a_slow_token_endpoint_is_waited_for() {
    for fault in [
        EndpointFault::Slow(Duration::from_secs(2)),
        EndpointFault::Trickle(Duration::from_millis(2)),
    ] {
        let home = home();
        home.endpoint.change(|options| options.fault = fault);
        let running = RunningAuth::start(&mut auth(&home));
        assert_eq!(consent(&running.address()).status, 200);
        assert_eq!(running.wait_for_exit().status, Some(0));
    }
}
