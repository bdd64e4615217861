//! Months of the resident program on an accelerated clock: mail arrives in bursts while faults happen
//! to both servers. In the end each message has arrived once, and the process has not grown.
//!
//! `SOAK` sets the number of messages, `SEED` the random choice of faults.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{DateTime, FixedOffset, Utc};
use double::{AppendResponse, Event, EventKind, Fault, GmailOptions, SourceOptions, Unfinished};
use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::run::timing::{Clock, Timing};
use imap_to_gmail_sync::timeouts::Timeouts;
use rustix::process::Signal;

use crate::dice::Dice;
use crate::program::Home;
use crate::watching::Watching;

/// A minute of the accelerated clock takes a tenth of a second.
const ACCELERATION: u32 = 600;

/// Environment variables of the program below: its command line, and the start of its clock.
const ARGUMENTS: &str = "SOAK_ARGUMENTS";
const STARTED: &str = "SOAK_STARTED";

/// Not a test, but the program on the accelerated clock: the soak test runs this executable with this
/// filter.
#[test]
#[ignore = "the soak test starts it as a program"]
fn the_program_on_an_accelerated_clock() {
    let (Ok(arguments), Ok(started)) = (std::env::var(ARGUMENTS), std::env::var(STARTED)) else {
        return;
    };
    let arguments = arguments.split('\n').map(Into::into);
    let timing = Timing {
        clock: Clock::accelerated(ACCELERATION, started.parse().unwrap()),
        timeouts: Timeouts {
            connect: Duration::from_secs(3),
            response: Duration::from_secs(1),
            command: Duration::from_secs(5),
            ..Timeouts::default()
        },
        max_wait: Duration::from_secs(2),
        first_retry_delay: Duration::from_millis(20),
        max_retry_delay: Duration::from_millis(500),
        gmail_keep_open: Duration::from_millis(1500),
        stable_session: Duration::from_millis(200),
    };
    let environment = Environment::of_this_process();
    let status = imap_to_gmail_sync::run_at(arguments, &environment, &timing);
    std::process::exit(status.into());
}

/// Both servers, the process, and what has been delivered so far.
struct Soak {
    home: Home,
    watching: Option<Watching>,
    started: DateTime<Utc>,
    dice: Dice,
    delivered: Vec<Vec<u8>>,
    validity: u32,
    restarts: usize,
    faults: BTreeMap<&'static str, usize>,
}

impl Soak {
    fn new(seed: u64) -> Soak {
        let gmail = GmailOptions {
            deduplicates: false,
            ..GmailOptions::default()
        };
        let mut soak = Soak {
            home: Home::with(SourceOptions::default(), gmail),
            watching: None,
            started: Utc::now(),
            dice: Dice::new(seed),
            delivered: Vec::new(),
            validity: 1_800_000_000,
            restarts: 0,
            faults: BTreeMap::new(),
        };
        soak.start();
        soak
    }

    fn start(&mut self) {
        let folder = self.home.path(".");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let arguments = ["--config", "config.json", "--watch", "--debug"].join("\n");
        command
            .current_dir(folder)
            .args([
                "--ignored",
                "--exact",
                "soak::the_program_on_an_accelerated_clock",
            ])
            .arg("--nocapture")
            .env(ARGUMENTS, arguments)
            .env(STARTED, self.started.to_rfc3339());
        self.watching = Some(Watching::spawn(command));
    }

    fn now(&self) -> DateTime<FixedOffset> {
        Clock::accelerated(ACCELERATION, self.started)
            .now()
            .fixed_offset()
    }

    fn watching(&self) -> &Watching {
        self.watching.as_ref().unwrap()
    }

    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.delivered.len();
            let id = if self.dice.chance(50) {
                String::new()
            } else {
                format!("Message-ID: <{number}@x>\r\n")
            };
            let text = "text ".repeat(self.dice.below(2000) as usize);
            let octets = format!("{id}Subject: {number}\r\n\r\nbody {number}\r\n{text}\r\n");
            let octets = octets.into_bytes();
            self.home.source.deliver(&octets, self.now(), &[]);
            self.delivered.push(octets);
        }
    }

    /// Plans or causes a random fault at one of the servers.
    fn cause_fault(&mut self) {
        let stop = Duration::from_millis(u64::from(self.dice.below(300)));
        let what = match self.dice.below(17) {
            0 => self.next_of_source("the source cuts", |_| true, Fault::Eof),
            1 => self.next_of_source("the source resets", |_| true, Fault::Reset),
            2 => self.next_of_source("the source stalls", Event::is_any_line, Fault::Stall),
            3 => self.next_of_source(
                "the source says BYE",
                Event::is_any_line,
                Fault::Instead("* BYE going down".to_owned()),
            ),
            4 => {
                self.home.source.disconnect();
                "the source disconnects"
            }
            5 => {
                self.home.source.stop();
                std::thread::sleep(stop);
                self.home.source.restart();
                "the source is down"
            }
            6 => {
                self.validity += 1;
                self.home.source.set_uid_validity(self.validity);
                // A session must not see the change (RFC 3501 2.3.1.1).
                self.home.source.disconnect();
                "another UIDVALIDITY"
            }
            7 => self.next_of_gmail("Gmail cuts", |_| true, Fault::Eof),
            8 => self.next_of_gmail("Gmail cuts after a literal", Event::is_literal, Fault::Eof),
            9 => self.next_of_gmail("Gmail stalls", Event::is_literal, Fault::Stall),
            10 => self.next_of_gmail(
                "Gmail says BYE",
                Event::is_any_line,
                Fault::Instead("* BYE Session expired".to_owned()),
            ),
            11 => {
                self.home.gmail.disconnect();
                "Gmail disconnects"
            }
            12 => {
                self.home.gmail.stop();
                std::thread::sleep(stop);
                self.home.gmail.restart();
                "Gmail is down"
            }
            13 => {
                let hour = Duration::from_secs(3601);
                self.home.gmail.clock().advance(hour);
                "the access token expires"
            }
            14 => {
                self.home.gmail.tokens().revoke_all(&self.home.gmail.user());
                "the access token is revoked"
            }
            15 => {
                let answer = "NO [OVERQUOTA] Account exceeded bandwidth limits. (Failure)";
                self.answer_appends_for(AppendResponse::Refusal(answer.to_owned()), stop);
                "Gmail throttles"
            }
            _ => {
                let unfinished = if self.dice.chance(500) {
                    Unfinished::Stored
                } else {
                    Unfinished::Forgotten
                };
                self.home
                    .gmail
                    .change(|gmail| gmail.unfinished = unfinished);
                "Gmail treats cut appends differently"
            }
        };
        *self.faults.entry(what).or_default() += 1;
    }

    fn next_of_source(
        &self,
        what: &'static str,
        when: impl FnMut(&Event) -> bool + Send + 'static,
        fault: Fault,
    ) -> &'static str {
        self.home.source.faults().once(when, fault);
        what
    }

    fn next_of_gmail(
        &self,
        what: &'static str,
        when: impl FnMut(&Event) -> bool + Send + 'static,
        fault: Fault,
    ) -> &'static str {
        self.home.gmail.faults().once(when, fault);
        what
    }

    fn answer_appends_for(&self, answer: AppendResponse, time: Duration) {
        self.home
            .gmail
            .change(|gmail| gmail.append_response = answer);
        std::thread::sleep(time);
        self.home
            .gmail
            .change(|gmail| gmail.append_response = AppendResponse::Normal);
    }

    /// Google revokes the consent: the process exits with 77, the user gets another token and starts
    /// it again.
    fn revoke_consent(&mut self) {
        let token: serde_json::Value = serde_json::from_str(&self.home.read("token.json")).unwrap();
        self.home
            .endpoint
            .revoke(token["refresh_token"].as_str().unwrap());
        self.home.gmail.disconnect();
        // The program notices with the next message.
        self.deliver(1);
        let run = self.watching.take().unwrap().wait_for_exit();
        assert_eq!(run.status, Some(77), "{run:?}");
        let token = self.home.endpoint.token_json(&self.home.gmail.user());
        self.home.write("token.json", &token);
        self.restarts += 1;
        self.start();
    }

    /// Ends all faults.
    fn end_faults(&self) {
        for server in [&*self.home.source, &*self.home.gmail] {
            server.faults().clear();
            server.faults().release();
        }
    }

    fn arrived(&self) -> usize {
        self.home.gmail.messages("INBOX").len()
    }

    fn is_settled(&self) -> bool {
        self.arrived() >= self.delivered.len()
            && self
                .home
                .path("sync_state.json")
                .exists()
                .then(|| self.home.state())
                .is_some_and(|state| state["parked"] == serde_json::json!({}))
    }

    /// Waits until every message has arrived and none is parked.
    fn wait_until_settled(&self) {
        // A message that was parked six times is retried after a day: more than two minutes here.
        let deadline = Instant::now() + Duration::from_mins(5);
        while !self.is_settled() {
            assert!(
                Instant::now() < deadline,
                "{} of {} arrived; {:?}\n{}",
                self.arrived(),
                self.delivered.len(),
                self.faults,
                tail(&self.watching().output())
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn assert_each_arrived_once(&self) {
        let delivered = self.home.delivered();
        let wrong: Vec<String> = self
            .delivered
            .iter()
            .enumerate()
            .map(|(number, octets)| {
                let copies = delivered.get(&octets.escape_ascii().to_string());
                (number, copies.map_or(0, Vec::len))
            })
            .filter(|(_, copies)| *copies != 1)
            .map(|(number, copies)| format!("message {number}: {copies}"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}; {:?}", self.faults);
        assert_eq!(delivered.len(), self.delivered.len());
    }
}

/// The resources that a process uses.
#[derive(Debug, Clone, Copy)]
struct Usage {
    kilobytes: usize,
    descriptors: usize,
    threads: usize,
    /// Hundredths of a second.
    cpu: usize,
}

impl Usage {
    fn of(pid: u32) -> Usage {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().split_whitespace().next().unwrap();
            number.parse().unwrap()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let times: Vec<usize> = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|time| time.parse().unwrap())
            .collect();
        Usage {
            kilobytes: field("VmRSS:"),
            // Only root can count those of a process that cannot be dumped.
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            threads: field("Threads:"),
            cpu: times.iter().sum(),
        }
    }
}

trait AnyLine {
    fn is_any_line(&self) -> bool;
}

impl AnyLine for Event {
    fn is_any_line(&self) -> bool {
        matches!(self.kind, EventKind::Line(_))
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn everything_arrives_once_whatever_happens_and_nothing_grows() {
    let count = usize::try_from(number("SOAK", 200)).unwrap();
    let seed = number("SEED", 1);
    let started = Instant::now();
    let mut soak = Soak::new(seed);
    // Once early and once late the consent is revoked.
    let mut revocations = vec![count * 6 / 10, count / 4];
    let mut first = None;
    while soak.delivered.len() < count {
        let burst = 1 + soak.dice.below(16) as usize;
        soak.deliver(burst.min(count - soak.delivered.len()));
        if revocations
            .last()
            .is_some_and(|at| soak.delivered.len() >= *at)
        {
            revocations.pop();
            soak.end_faults();
            soak.revoke_consent();
        }
        soak.cause_fault();
        let pause = 50 + soak.dice.below(300);
        std::thread::sleep(Duration::from_millis(pause.into()));
        soak.home.source.faults().release();
        soak.home.gmail.faults().release();
        if first.is_none() && revocations.is_empty() && soak.delivered.len() > count * 7 / 10 {
            soak.end_faults();
            soak.wait_until_settled();
            first = Some(settled_usage(&soak));
        }
    }
    soak.end_faults();
    soak.wait_until_settled();
    let last = settled_usage(&soak);
    std::thread::sleep(Duration::from_secs(2));
    let idle = Usage::of(soak.watching().pid());
    let run = soak.watching.take().unwrap();
    let signalled = Instant::now();
    run.signal(Signal::TERM);
    let run = run.wait_for_exit();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(signalled.elapsed() < Duration::from_secs(5));
    soak.assert_each_arrived_once();
    println!(
        "seed {seed}: {count} messages in {:?}; {} restarts; {:?}; {first:?} then {last:?}; idle {idle:?}",
        started.elapsed(),
        soak.restarts,
        soak.faults
    );
    let first = first.unwrap();
    assert_eq!(soak.restarts, 2);
    assert_eq!(last.threads, first.threads, "{first:?} {last:?}");
    assert_eq!(last.descriptors, first.descriptors, "{first:?} {last:?}");
    assert!(
        last.kilobytes < first.kilobytes + 4096,
        "{first:?} {last:?}"
    );
    assert!(idle.cpu <= last.cpu + 10, "{last:?} {idle:?}");
}

/// The usage after the program logged out of Gmail, between two checks of the source.
fn settled_usage(soak: &Soak) -> Usage {
    let pid = soak.watching().pid();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The main thread, the signal thread and the test harness's own. The append workers end before
    // the last connection is closed, so the minimum of several samples counts.
    while Usage::of(pid).threads > 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut samples = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Usage::of(pid)
    });
    let first = samples.next().unwrap();
    samples.fold(first, |least, usage| Usage {
        descriptors: least.descriptors.min(usage.descriptors),
        threads: least.threads.min(usage.threads),
        ..usage
    })
}
