//! The fuzz targets on a stable compiler, with their seeds and a bounded number of mutations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

/// Tokens that end lines, strings and numbers, and other troublesome ones.
const TOKENS: [&[u8]; 29] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\"",
    b"\\",
    b"{5}\r\n",
    b"{4294967295}\r\n",
    b"{18446744073709551616}",
    b"~{3}\r\n",
    b"(",
    b")",
    b"  ",
    b" FLAGS (",
    b" RFC822 ",
    b" X-THING ",
    b"NIL",
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"0",
    b"4294967296",
    b"1e999",
    b"* ",
    b"\xff",
    b"\xe2\x80\xae",
    b"&-",
    b"9999-12-31T23:59:59Z",
];

/// A seeded random generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap()
    }
}

/// The seeds of a target, with inputs that the fuzzer has found.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One of the seeds with some octets changed, removed, inserted, doubled, or taken from another seed.
fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut octets = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let begin = dice.below(octets.len() + 1);
        let end = begin + dice.below((octets.len() - begin + 1).min(32));
        let put: Vec<u8> = match dice.below(6) {
            0 => Vec::new(),
            1 => TOKENS[dice.below(TOKENS.len())].to_vec(),
            2 => vec![u8::try_from(dice.below(256)).unwrap()],
            3 => octets[begin..end].repeat(2 + dice.below(3)),
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                other[dice.below(other.len())..].to_vec()
            }
            _ => octets[begin..end]
                .iter()
                .map(|octet| octet ^ 0x20)
                .collect(),
        };
        octets.splice(begin..end, put);
    }
    octets
}

/// A number from the environment; 1 by default.
fn number(variable: &str) -> u64 {
    std::env::var(variable).map_or(1, |number| number.parse().unwrap())
}

/// Runs a target with its corpus and with mutations, and prints the input that fails. `FUZZ_TIMES=100`
/// tries a hundred times as many mutations, `FUZZ_SEED=2` tries others.
fn assert_survives(name: &str, target: fn(&[u8]), mutations: usize) {
    let seeds = corpus(name);
    let mut dice = Dice(number("FUZZ_SEED"));
    let mutations = mutations * usize::try_from(number("FUZZ_TIMES")).unwrap();
    let mutations = (0..mutations).map(|_| mutated(&seeds, &mut dice));
    for octets in seeds.iter().cloned().chain(mutations) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&octets))) {
            eprintln!("{name} does not bear b\"{}\"", octets.escape_ascii());
            resume_unwind(panic);
        }
    }
}

#[test]
fn any_snapshot_is_handled() {
    assert_survives("snapshot", targets::snapshot, 3_000);
}

#[test]
fn any_journal_is_handled() {
    assert_survives("journal", targets::journal, 2_000);
}

#[test]
fn any_configuration_is_handled() {
    assert_survives("config", targets::config, 2_000);
}

#[test]
fn any_token_file_is_handled() {
    assert_survives("token", targets::token, 2_000);
}

#[test]
fn any_untrusted_text_is_displayed_harmlessly() {
    assert_survives("foreign", targets::foreign, 20_000);
}

#[test]
fn any_argument_is_quoted_or_rejected() {
    assert_survives("wire", targets::wire, 6_000);
}

#[test]
fn any_header_has_an_identity() {
    assert_survives("identity", targets::identity, 10_000);
}

#[test]
fn any_line_of_a_server_is_handled() {
    assert_survives("lines", targets::lines, 3_000);
}

#[test]
fn any_responses_in_a_session_are_handled() {
    assert_survives("session", targets::session, 800);
}

#[test]
fn any_source_is_handled() {
    assert_survives("source", targets::source, 800);
}
