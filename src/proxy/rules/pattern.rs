//! Patterns of ELB: `*` is any bytes, `?` is one.
//!
//! Matching goes back to the last star only, which is enough for patterns without classes: the work is at most the
//! length of the text times that of the pattern, which ELB bounds at 128, and there is nothing on the heap.

/// One pattern. Where case does not count, its letters are lower case already.
#[derive(Debug)]
pub struct Pattern {
    shape: Shape,
    folds_case: bool,
}

#[derive(Debug)]
enum Shape {
    /// Nothing but stars.
    Anything,
    /// No wildcard at all.
    Exact(Box<[u8]>),
    /// One star, at the end.
    Prefix(Box<[u8]>),
    Pieces(Box<[Piece]>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Byte(u8),
    AnyByte,
    Star,
}

/// How to read a pattern.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub folds_case: bool,
    /// Whether `\*`, `\?` and `\\` are the characters themselves.
    pub has_escapes: bool,
}

impl Pattern {
    pub fn new(text: &str, reading: Reading) -> Pattern {
        let mut pieces = Vec::with_capacity(text.len());
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let piece = match byte {
                b'\\' if reading.has_escapes => {
                    let escaped = bytes.next_if(|next| matches!(next, b'*' | b'?' | b'\\'));
                    Piece::Byte(escaped.unwrap_or(byte))
                }
                b'*' => Piece::Star,
                b'?' => Piece::AnyByte,
                byte if reading.folds_case => Piece::Byte(byte.to_ascii_lowercase()),
                byte => Piece::Byte(byte),
            };
            // Two stars are one.
            if piece != Piece::Star || pieces.last() != Some(&Piece::Star) {
                pieces.push(piece);
            }
        }
        Pattern { shape: Shape::of(pieces), folds_case: reading.folds_case }
    }

    /// The one text that fits, if there is only one; in lower case if case does not count.
    pub fn exact(&self) -> Option<&[u8]> {
        match &self.shape {
            Shape::Exact(text) => Some(text),
            _ => None,
        }
    }

    /// What every text that fits begins with.
    pub fn prefix(&self) -> Vec<u8> {
        match &self.shape {
            Shape::Anything => Vec::new(),
            Shape::Exact(text) | Shape::Prefix(text) => text.to_vec(),
            Shape::Pieces(pieces) => pieces.iter().map_while(|piece| piece.literal()).collect(),
        }
    }

    pub fn fits(&self, text: &[u8]) -> bool {
        match &self.shape {
            Shape::Anything => true,
            Shape::Exact(wanted) => wanted.len() == text.len() && self.begins(text, wanted),
            Shape::Prefix(wanted) => self.begins(text, wanted),
            Shape::Pieces(pieces) => run(pieces, &AsIs(text), self.folds_case),
        }
    }

    /// The same for a text that is percent-encoded, of what it stands for.
    pub fn fits_decoded(&self, text: &[u8]) -> bool {
        let text = Decoded(text);
        match &self.shape {
            Shape::Anything => true,
            Shape::Exact(wanted) => text.after(wanted, self.folds_case).is_some_and(|at| text.at(at).is_none()),
            Shape::Prefix(wanted) => text.after(wanted, self.folds_case).is_some(),
            Shape::Pieces(pieces) => run(pieces, &text, self.folds_case),
        }
    }

    fn begins(&self, text: &[u8], wanted: &[u8]) -> bool {
        match text.get(..wanted.len()) {
            Some(start) if self.folds_case => start.eq_ignore_ascii_case(wanted),
            Some(start) => start == wanted,
            None => false,
        }
    }
}

impl Shape {
    fn of(pieces: Vec<Piece>) -> Shape {
        if pieces == [Piece::Star] {
            return Shape::Anything;
        }
        let literal: Vec<u8> = pieces.iter().map_while(|piece| piece.literal()).collect();
        match &pieces[literal.len()..] {
            [] => Shape::Exact(literal.into()),
            [Piece::Star] => Shape::Prefix(literal.into()),
            _ => Shape::Pieces(pieces.into()),
        }
    }
}

impl Piece {
    fn literal(self) -> Option<u8> {
        match self {
            Piece::Byte(byte) => Some(byte),
            Piece::AnyByte | Piece::Star => None,
        }
    }
}

fn fits_byte(piece: Piece, byte: u8, folds_case: bool) -> bool {
    match piece {
        Piece::Byte(wanted) if folds_case => wanted == byte.to_ascii_lowercase(),
        Piece::Byte(wanted) => wanted == byte,
        Piece::AnyByte => true,
        Piece::Star => false,
    }
}

fn run(pieces: &[Piece], text: &impl Text, folds_case: bool) -> bool {
    let (mut piece, mut at) = (0, 0);
    // Behind the last star: the piece that follows it, and where in the text that was tried last.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pieces.get(piece), text.at(at)) {
            (Some(Piece::Star), _) => {
                piece += 1;
                if piece == pieces.len() {
                    return true;
                }
                retry = Some((piece, at));
                continue;
            }
            (Some(wanted), Some((byte, next))) if fits_byte(*wanted, byte, folds_case) => {
                piece += 1;
                at = next;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after_star, from)) = retry else { return false };
        let Some((_, next)) = text.at(from) else { return false };
        retry = Some((after_star, next));
        (piece, at) = (after_star, next);
    }
}

/// A text as it is read byte by byte.
trait Text {
    /// The byte at this place, and where the next one begins.
    fn at(&self, place: usize) -> Option<(u8, usize)>;

    /// Where it goes on after `start`, if it begins with that.
    fn after(&self, start: &[u8], folds_case: bool) -> Option<usize> {
        start.iter().try_fold(0, |place, wanted| {
            let (byte, next) = self.at(place)?;
            fits_byte(Piece::Byte(*wanted), byte, folds_case).then_some(next)
        })
    }
}

struct AsIs<'a>(&'a [u8]);

impl Text for AsIs<'_> {
    fn at(&self, place: usize) -> Option<(u8, usize)> {
        Some((*self.0.get(place)?, place + 1))
    }
}

/// A percent-encoded text; a `%` that begins no code is itself.
struct Decoded<'a>(&'a [u8]);

impl Text for Decoded<'_> {
    fn at(&self, place: usize) -> Option<(u8, usize)> {
        let byte = *self.0.get(place)?;
        match decode(&self.0[place..]) {
            Some(decoded) => Some((decoded, place + 3)),
            None => Some((byte, place + 1)),
        }
    }
}

/// The byte of a code such as `%2F` at the start of `text`.
pub fn decode(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Reading = Reading { folds_case: false, has_escapes: false };
    const FOLDED: Reading = Reading { folds_case: true, has_escapes: true };

    #[track_caller]
    fn check(pattern: &str, reading: Reading, fit: &[&str], unfit: &[&str]) {
        let compiled = Pattern::new(pattern, reading);
        for text in fit {
            assert!(compiled.fits(text.as_bytes()), "{pattern} does not fit {text}");
        }
        for text in unfit {
            assert!(!compiled.fits(text.as_bytes()), "{pattern} fits {text}");
        }
    }

    #[test]
    fn stars_are_any_text_and_question_marks_one_byte() {
        check("/img/*", EXACT, &["/img/", "/img/a/b"], &["/img", "/IMG/a", ""]);
        check("/img/*/pics", EXACT, &["/img//pics", "/img/a/pics/pics"], &["/img/pics", "/img/a/pics/"]);
        check("/?.jpg", EXACT, &["/a.jpg"], &["/.jpg", "/ab.jpg", "/a.jpeg"]);
        check("*", EXACT, &["", "x"], &[]);
        check("**a**", EXACT, &["a", "bab"], &["", "b"]);
        check("", EXACT, &[""], &["a"]);
        check("a?", EXACT, &["ab"], &["a", "abc"]);
        check("*?", EXACT, &["a", "ab"], &[""]);
    }

    #[test]
    fn case_and_escapes_count_where_they_are_said_to() {
        check("*.Example.com", FOLDED, &["a.example.COM", ".example.com"], &["example.com"]);
        check(r"\*a\?\\", FOLDED, &[r"*A?\"], &["xa?\\", "*ab\\"]);
        check(r"\d*", FOLDED, &[r"\D1"], &["d1"]);
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        let pattern = "*a".repeat(60) + "b";
        let text = "a".repeat(20_000);
        assert!(!Pattern::new(&pattern, EXACT).fits(text.as_bytes()));
    }

    #[test]
    fn encoded_text_is_compared_as_what_it_stands_for() {
        let fits = |pattern: &str, text: &str| Pattern::new(pattern, FOLDED).fits_decoded(text.as_bytes());
        assert!(fits("hello world", "Hello%20World"));
        assert!(fits("h*ld", "hello%20worl%64"));
        assert!(fits("100%", "100%25"));
        assert!(fits("100%", "100%"));
        assert!(fits("a%2*", "a%2"));
        assert!(!fits("a b", "a%20b%20"));
    }
}
