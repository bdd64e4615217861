//! The resident program for months, in fast time: mail comes in bursts while every moment something
//! happens to either server. In the end everything is there once, and the process has not grown.
//!
//! `SOAK` is the number of messages, `SEED` what happens to them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::program::Home;
use crate::watching::Watching;
use chrono::{DateTime, FixedOffset, Utc};
use double::{AppendAnswer, Event, Fault, GmailOptions, SourceOptions, Unfinished, What};
use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::run::timing::{Clock, Timing};
use imap_to_gmail_sync::timeouts::Timeouts;
use rustix::process::Signal;

/// A minute of the calendar is a tenth of a second.
const TIMES: u32 = 600;

/// Where the helper below finds its command line, and when its calendar began to run.
const WORDS: &str = "SOAKED_WORDS";
const BEGUN: &str = "SOAKED_BEGUN";

/// No test, but the program at a quick pace: this executable runs it as the program of the soak.
#[test]
#[ignore = "it is the program that the soak starts"]
fn the_program_at_a_quick_pace() {
    let (Ok(words), Ok(begun)) = (std::env::var(WORDS), std::env::var(BEGUN)) else {
        return;
    };
    let words = words.split('\n').map(Into::into);
    let pace = Timing {
        clock: Clock::accelerated(TIMES, begun.parse().unwrap()),
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
    let status = imap_to_gmail_sync::run_at(words, &environment, &pace);
    std::process::exit(status.into());
}

/// The servers, the process between them, and what has come so far.
struct Soak {
    home: Home,
    watching: Option<Watching>,
    begun: DateTime<Utc>,
    dice: Dice,
    delivered: Vec<Vec<u8>>,
    validity: u32,
    restarts: usize,
    happened: BTreeMap<&'static str, usize>,
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
            begun: Utc::now(),
            dice: Dice::new(seed),
            delivered: Vec::new(),
            validity: 1_800_000_000,
            restarts: 0,
            happened: BTreeMap::new(),
        };
        soak.start();
        soak
    }

    fn start(&mut self) {
        let folder = self.home.path(".");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let words = ["--config", "config.json", "--watch", "--debug"].join("\n");
        command
            .current_dir(folder)
            .args(["--ignored", "--exact", "soak::the_program_at_a_quick_pace"])
            .arg("--nocapture")
            .env(WORDS, words)
            .env(BEGUN, self.begun.to_rfc3339());
        self.watching = Some(Watching::spawn(command));
    }

    fn now(&self) -> DateTime<FixedOffset> {
        Clock::accelerated(TIMES, self.begun).now().fixed_offset()
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

    /// Something happens to one of the servers.
    fn trouble(&mut self) {
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
                // No session outlives that (RFC 3501 2.3.1.1).
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
                self.throttled(AppendAnswer::Refusal(answer.to_owned()), stop);
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
                "Gmail changes its mind about cut messages"
            }
        };
        *self.happened.entry(what).or_default() += 1;
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

    fn throttled(&self, answer: AppendAnswer, time: Duration) {
        self.home.gmail.change(|gmail| gmail.append_answer = answer);
        std::thread::sleep(time);
        self.home
            .gmail
            .change(|gmail| gmail.append_answer = AppendAnswer::Usual);
    }

    /// Google takes the consent back: the process must end with 77, a person makes another token,
    /// and starts it again.
    fn consent_is_revoked(&mut self) {
        let token: serde_json::Value = serde_json::from_str(&self.home.read("token.json")).unwrap();
        self.home
            .endpoint
            .revoke(token["refresh_token"].as_str().unwrap());
        self.home.gmail.disconnect();
        // It notices with the next message.
        self.deliver(1);
        let run = self.watching.take().unwrap().wait_for_exit();
        assert_eq!(run.status, Some(77), "{run:?}");
        let token = self.home.endpoint.token_json(&self.home.gmail.user());
        self.home.write("token.json", &token);
        self.restarts += 1;
        self.start();
    }

    /// All is well again.
    fn heal(&self) {
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

    /// Everything arrives in the end.
    fn wait_until_settled(&self) {
        // What was parked six times is tried again a day later: after more than two minutes here.
        let deadline = Instant::now() + Duration::from_mins(5);
        while !self.is_settled() {
            assert!(
                Instant::now() < deadline,
                "{} of {} arrived; {:?}\n{}",
                self.arrived(),
                self.delivered.len(),
                self.happened,
                tail(&self.watching().output())
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn demand_each_once(&self) {
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
        assert!(wrong.is_empty(), "{wrong:?}; {:?}", self.happened);
        assert_eq!(delivered.len(), self.delivered.len());
    }
}

/// What a process uses.
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
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
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
        matches!(self.what, What::Line(_))
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn everything_arrives_once_whatever_happens_and_nothing_grows() {
    let count = usize::try_from(number("SOAK", 200)).unwrap();
    let seed = number("SEED", 1);
    let begun = Instant::now();
    let mut soak = Soak::new(seed);
    // Once early and once late a person is needed.
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
            soak.heal();
            soak.consent_is_revoked();
        }
        soak.trouble();
        let pause = 50 + soak.dice.below(300);
        std::thread::sleep(Duration::from_millis(pause.into()));
        soak.home.source.faults().release();
        soak.home.gmail.faults().release();
        if first.is_none() && revocations.is_empty() && soak.delivered.len() > count * 7 / 10 {
            soak.heal();
            soak.wait_until_settled();
            first = Some(cool(&soak));
        }
    }
    soak.heal();
    soak.wait_until_settled();
    let last = cool(&soak);
    std::thread::sleep(Duration::from_secs(2));
    let idle = Usage::of(soak.watching().pid());
    let run = soak.watching.take().unwrap();
    let pid_ends = Instant::now();
    run.signal(Signal::TERM);
    let run = run.wait_for_exit();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(pid_ends.elapsed() < Duration::from_secs(5));
    soak.demand_each_once();
    println!(
        "seed {seed}: {count} messages in {:?}; {} restarts; {:?}; {first:?} then {last:?}; idle {idle:?}",
        begun.elapsed(),
        soak.restarts,
        soak.happened
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

/// What the process uses once it has left Gmail, between two looks at the source.
fn cool(soak: &Soak) -> Usage {
    let pid = soak.watching().pid();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The main thread and the one that hears signals, and the test harness's own. The lanes' end
    // before the last connection is closed: the least of some moments counts.
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
