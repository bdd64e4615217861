//! What the server sent, made safe for the parser: pure, a line in, a line out.
//!
//! The parser behind it panics on `INTERNALDATE NIL`, on an untagged NO during EXAMINE and on
//! other things, descends without limit into parentheses, gives the whole session up at a response
//! or an octet it does not know, and leaves the backslashes in quoted strings. Whoever sends such
//! things, our server or somebody in its place, must not be able to end or corrupt a run by them.
//! So responses that nobody here asks for become an empty `* OK`, and strings become literals.

/// More octets outside of strings than this say nothing in a FETCH or LIST response; the parser
/// reads them anew at each line of a literal.
const LONGEST_STRUCTURE: usize = 8 * 1024;

/// Nothing that is asked for is nested deeper.
const DEEPEST_NESTING: usize = 16;

/// A response that says nothing.
const NOTHING: &[u8] = b"* OK\r\n";

/// Makes lines safe for the parser; remembers where in a response it is.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The response that goes on after a literal.
    open: Option<Response>,
}

/// What may go on to the parser.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// The line, made safe.
    pub line: Vec<u8>,
    /// How many octets of a literal come next; they go on unchanged.
    pub literal: u64,
    /// The literal belongs to a response that nobody asked for.
    pub skip_literal: bool,
    /// Whether a response ends with this line.
    pub is_whole: bool,
}

/// What a server does that no client has to bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nonsense {
    TooDeep,
    TooMuchStructure,
    OpenQuote,
}

impl Nonsense {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Nonsense::TooDeep => "it sent a response that is nested too deeply",
            Nonsense::TooMuchStructure => "it sent a response that has no end",
            Nonsense::OpenQuote => "it sent a quoted string that has no end",
        }
    }
}

/// A response that may hold literals.
#[derive(Debug)]
struct Response {
    kind: Kind,
    depth: usize,
    structure: usize,
    strings: usize,
    after_internal_date: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fetch,
    /// Its first string is the delimiter, which the parser knows in quotes only.
    List,
    Status,
    Unknown,
}

impl Gate {
    /// Makes a line safe. It ends in LF, or is cut off by the end of the stream.
    pub(super) fn admit(&mut self, line: &[u8]) -> Result<Admitted, Nonsense> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.open.take() {
            Some(response) => self.go_on(response, line),
            None => self.begin(line),
        }
    }

    fn begin(&mut self, line: &[u8]) -> Result<Admitted, Nonsense> {
        let Some(data) = line.strip_prefix(b"* ") else {
            return Ok(Admitted::whole(plain(line)));
        };
        let mut words = data.split(|octet| *octet == b' ');
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let second = words.next().unwrap_or_default().to_ascii_uppercase();
        let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        match (first.as_slice(), second.as_slice()) {
            (b"OK" | b"BYE" | b"SEARCH", _) => Ok(Admitted::whole(plain(line))),
            // Warnings: the parser's callers panic on them or give up.
            (b"NO" | b"BAD" | b"PREAUTH", _) => Ok(Admitted::whole(NOTHING.to_vec())),
            (_, b"EXISTS" | b"EXPUNGE") if is_number => Ok(Admitted::whole(plain(line))),
            (_, b"FETCH") if is_number => self.go_on(Response::new(Kind::Fetch), line),
            (b"LIST", _) => self.go_on(Response::new(Kind::List), line),
            (b"STATUS", _) => self.go_on(Response::new(Kind::Status), line),
            _ => {
                let admitted = self.go_on(Response::new(Kind::Unknown), line)?;
                Ok(Admitted {
                    line: NOTHING.to_vec(),
                    ..admitted
                })
            }
        }
    }

    fn go_on(&mut self, mut response: Response, line: &[u8]) -> Result<Admitted, Nonsense> {
        let (line, literal) = response.make_safe(line)?;
        let is_unknown = response.kind == Kind::Unknown;
        let admitted = Admitted {
            line: if is_unknown { Vec::new() } else { line },
            literal: literal.unwrap_or(0),
            skip_literal: is_unknown,
            is_whole: literal.is_none(),
        };
        if literal.is_some() {
            self.open = Some(response);
        }
        Ok(admitted)
    }
}

impl Admitted {
    fn whole(line: Vec<u8>) -> Admitted {
        Admitted {
            line,
            is_whole: true,
            ..Admitted::default()
        }
    }
}

impl Response {
    fn new(kind: Kind) -> Response {
        Response {
            kind,
            depth: 0,
            structure: 0,
            strings: 0,
            after_internal_date: false,
        }
    }

    /// The line as the parser may see it, and the size of the literal that it announces.
    fn make_safe(&mut self, line: &[u8]) -> Result<(Vec<u8>, Option<u64>), Nonsense> {
        let mut safe = Vec::with_capacity(line.len() + 16);
        let mut rest = line;
        while let Some((&octet, after)) = rest.split_first() {
            rest = match octet {
                b'"' => self.string(after, &mut safe)?,
                b'{' => {
                    if let Some(size) = announced(rest) {
                        self.strings += 1;
                        safe.extend_from_slice(format!("{{{size}}}\r\n").as_bytes());
                        return Ok((safe, Some(size)));
                    }
                    self.structure(octet, &mut safe)?;
                    after
                }
                b'(' | b')' | b' ' => {
                    self.structure(octet, &mut safe)?;
                    after
                }
                _ => self.atom(rest, &mut safe)?,
            };
        }
        safe.extend_from_slice(b"\r\n");
        Ok((safe, None))
    }

    /// Takes a quoted string whose opening quote is gone; a literal is written in its place.
    fn string<'a>(&mut self, after: &'a [u8], safe: &mut Vec<u8>) -> Result<&'a [u8], Nonsense> {
        let (text, rest) = match unquote(after) {
            Some(found) => found,
            None if self.kind == Kind::Unknown => (Vec::new(), b"".as_slice()),
            None => return Err(Nonsense::OpenQuote),
        };
        let is_delimiter = self.kind == Kind::List && self.strings == 0;
        self.strings += 1;
        if is_delimiter {
            safe.push(b'"');
            safe.extend(text.iter().filter(|octet| !is_special(**octet)));
            safe.push(b'"');
        } else {
            let text = if self.kind == Kind::Fetch {
                text
            } else {
                String::from_utf8_lossy(&text).into_owned().into_bytes()
            };
            safe.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
            safe.extend_from_slice(&text);
        }
        Ok(rest)
    }

    fn structure(&mut self, octet: u8, safe: &mut Vec<u8>) -> Result<(), Nonsense> {
        match octet {
            b'(' => self.depth += 1,
            b')' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        safe.push(octet);
        self.count(1)?;
        if self.depth > DEEPEST_NESTING {
            return Err(Nonsense::TooDeep);
        }
        Ok(())
    }

    fn atom<'a>(&mut self, line: &'a [u8], safe: &mut Vec<u8>) -> Result<&'a [u8], Nonsense> {
        let end = line
            .iter()
            .position(|octet| matches!(octet, b'"' | b'(' | b')' | b' ' | b'{'));
        let (atom, rest) = line
            .split_at_checked(end.unwrap_or(line.len()))
            .unwrap_or((line, b""));
        self.count(atom.len())?;
        // A server that does not know the date: the parser panics on NIL, and reads no date in "".
        if self.after_internal_date && atom.eq_ignore_ascii_case(b"NIL") {
            safe.extend_from_slice(b"\"\"");
        } else if self.kind == Kind::List && atom.eq_ignore_ascii_case(b"NIL") {
            self.strings += 1;
            safe.extend_from_slice(atom);
        } else {
            safe.extend(atom.iter().map(|octet| visible(*octet)));
        }
        self.after_internal_date =
            self.kind == Kind::Fetch && atom.eq_ignore_ascii_case(b"INTERNALDATE");
        Ok(rest)
    }

    fn count(&mut self, octets: usize) -> Result<(), Nonsense> {
        self.structure += octets;
        // What nobody asked for goes no further, however long it is.
        if self.structure > LONGEST_STRUCTURE && self.kind != Kind::Unknown {
            return Err(Nonsense::TooMuchStructure);
        }
        Ok(())
    }
}

/// A line without structure: what is no text (8-bit, control characters) becomes `?`.
fn plain(line: &[u8]) -> Vec<u8> {
    let mut safe: Vec<u8> = line.iter().map(|octet| visible(*octet)).collect();
    if !safe.is_empty() {
        safe.extend_from_slice(b"\r\n");
    }
    safe
}

fn visible(octet: u8) -> u8 {
    if (0x20..0x7f).contains(&octet) || octet == b'\t' {
        octet
    } else {
        b'?'
    }
}

fn is_special(octet: u8) -> bool {
    matches!(octet, b'"' | b'\\') || visible(octet) != octet
}

/// The text up to the closing quote, without its backslashes, and what follows it.
fn unquote(after: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut octets = after.iter().enumerate();
    while let Some((index, octet)) = octets.next() {
        match octet {
            b'"' => return Some((text, after.get(index + 1..)?)),
            b'\\' => text.push(*octets.next()?.1),
            _ => text.push(*octet),
        }
    }
    None
}

/// The size of the literal that a line announces by its end, `{n}` or `{n+}`.
pub(super) fn announced(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let begin = inner.iter().rposition(|octet| *octet == b'{')?;
    let digits = inner.get(begin + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok()?.parse().ok();
    number.filter(|_| is_number)
}
