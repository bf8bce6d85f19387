//! `AllowedPattern`: regular expressions, held against a whole value in time linear in its length.
//!
//! A pattern comes from a caller and is run by the control plane, so it must not be able to hold it up: it is compiled
//! to a small program whose states are followed all at once (Thompson's way), without ever going back. What needs going
//! back (references, looking around) is refused by name.

/// Instructions of one program: at 8 KiB of value that is 16 million steps at most, some tens of milliseconds.
const INSTRUCTIONS_MAX: usize = 2_000;
/// How deep groups may nest: the parser recurses.
const DEPTH_MAX: usize = 50;

/// Why a text is no pattern that is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a group is not closed, or closed without being open")]
    Group,
    #[error("a bracket is not closed, or holds nothing")]
    Bracket,
    #[error("there is nothing to repeat, or the bounds of a repetition are wrong")]
    Repetition,
    #[error("lookaround, references and flags are not supported")]
    Unsupported,
    #[error("an escape is not known")]
    Escape,
    #[error("it is too large")]
    TooLarge,
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern(Vec<Instruction>);

#[derive(Clone, Debug)]
enum Instruction {
    Take(Class),
    Split(usize, usize),
    Jump(usize),
    AtStart,
    AtEnd,
    Matched,
}

/// Characters, as ranges.
#[derive(Clone, Debug, Default)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Node {
    Take(Class),
    AtStart,
    AtEnd,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, min: u32, max: Option<u32> },
}

impl Pattern {
    pub fn compile(text: &str) -> Result<Pattern, Invalid> {
        let mut parser = Parser { rest: text.chars().collect::<Vec<_>>(), at: 0, depth: 0 };
        let node = parser.either()?;
        if parser.at < parser.rest.len() {
            return Err(Invalid::Group);
        }
        let mut program = Vec::new();
        emit(&node, &mut program)?;
        program.push(Instruction::Matched);
        Ok(Pattern(program))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut now = States::new(self.0.len());
        let mut next = States::new(self.0.len());
        let mut characters = text.chars().peekable();
        self.follow(0, &mut now, true, text.is_empty());
        while let Some(character) = characters.next() {
            let at_end = characters.peek().is_none();
            for at in now.states.drain(..) {
                now.has[at] = false;
                if let Instruction::Take(class) = &self.0[at]
                    && class.holds(character)
                {
                    self.follow(at + 1, &mut next, false, at_end);
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        now.states.iter().any(|at| matches!(self.0[*at], Instruction::Matched))
    }

    /// Adds what can be reached from an instruction without taking a character.
    fn follow(&self, from: usize, states: &mut States, at_start: bool, at_end: bool) {
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            if states.has[at] {
                continue;
            }
            states.has[at] = true;
            states.states.push(at);
            match self.0[at] {
                Instruction::Split(one, other) => open.extend([one, other]),
                Instruction::Jump(to) => open.push(to),
                Instruction::AtStart if at_start => open.push(at + 1),
                Instruction::AtEnd if at_end => open.push(at + 1),
                _ => {}
            }
        }
    }
}

/// The instructions that are being followed.
struct States {
    has: Vec<bool>,
    states: Vec<usize>,
}

impl States {
    fn new(instructions: usize) -> States {
        States { has: vec![false; instructions], states: Vec::new() }
    }
}

impl Class {
    fn one(character: char) -> Class {
        Class { ranges: vec![(character, character)], negated: false }
    }

    fn holds(&self, character: char) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&character)) != self.negated
    }
}

fn emit(node: &Node, program: &mut Vec<Instruction>) -> Result<(), Invalid> {
    if program.len() >= INSTRUCTIONS_MAX {
        return Err(Invalid::TooLarge);
    }
    match node {
        Node::Take(class) => program.push(Instruction::Take(class.clone())),
        Node::AtStart => program.push(Instruction::AtStart),
        Node::AtEnd => program.push(Instruction::AtEnd),
        Node::Sequence(nodes) => nodes.iter().try_for_each(|node| emit(node, program))?,
        Node::Either(nodes) => {
            let mut ends = Vec::new();
            for (place, node) in nodes.iter().enumerate() {
                let split = program.len();
                if place + 1 < nodes.len() {
                    program.push(Instruction::Split(split + 1, 0));
                }
                emit(node, program)?;
                if place + 1 < nodes.len() {
                    ends.push(program.len());
                    program.push(Instruction::Jump(0));
                    program[split] = Instruction::Split(split + 1, program.len());
                }
            }
            for end in ends {
                program[end] = Instruction::Jump(program.len());
            }
        }
        Node::Repeat { node, min, max } => {
            for _ in 0..*min {
                emit(node, program)?;
            }
            match max {
                None => {
                    let split = program.len();
                    program.push(Instruction::Split(split + 1, 0));
                    emit(node, program)?;
                    program.push(Instruction::Jump(split));
                    program[split] = Instruction::Split(split + 1, program.len());
                }
                Some(max) => {
                    for _ in *min..*max {
                        let split = program.len();
                        program.push(Instruction::Split(split + 1, 0));
                        emit(node, program)?;
                        program[split] = Instruction::Split(split + 1, program.len());
                    }
                }
            }
        }
    }
    if program.len() > INSTRUCTIONS_MAX { Err(Invalid::TooLarge) } else { Ok(()) }
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Result<Node, Invalid> {
        let mut nodes = vec![self.sequence()?];
        while self.takes('|') {
            nodes.push(self.sequence()?);
        }
        Ok(Node::Either(nodes))
    }

    fn sequence(&mut self) -> Result<Node, Invalid> {
        let mut nodes = Vec::new();
        while self.peek().is_some_and(|next| next != '|' && next != ')') {
            let node = self.atom()?;
            nodes.push(self.repeated(node)?);
        }
        Ok(Node::Sequence(nodes))
    }

    fn atom(&mut self) -> Result<Node, Invalid> {
        match self.next().ok_or(Invalid::Group)? {
            '(' => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(Invalid::TooLarge);
                }
                if self.takes('?') && !self.takes(':') {
                    return Err(Invalid::Unsupported);
                }
                let node = self.either()?;
                self.depth -= 1;
                if self.takes(')') { Ok(node) } else { Err(Invalid::Group) }
            }
            '[' => self.bracket().map(Node::Take),
            '.' => Ok(Node::Take(Class { ranges: vec![('\n', '\n'), ('\r', '\r')], negated: true })),
            '^' => Ok(Node::AtStart),
            '$' => Ok(Node::AtEnd),
            '\\' => match self.next().ok_or(Invalid::Escape)? {
                'A' => Ok(Node::AtStart),
                'z' | 'Z' => Ok(Node::AtEnd),
                escaped => escape(escaped).map(Node::Take),
            },
            '*' | '+' | '?' | '{' => Err(Invalid::Repetition),
            character => Ok(Node::Take(Class::one(character))),
        }
    }

    fn repeated(&mut self, node: Node) -> Result<Node, Invalid> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.at += 1;
                let min = self.number().ok_or(Invalid::Repetition)?;
                let max = if self.takes(',') { self.number() } else { Some(min) };
                if self.peek() != Some('}') || max.is_some_and(|max| max < min) {
                    return Err(Invalid::Repetition);
                }
                (min, max)
            }
            _ => return Ok(node),
        };
        self.at += 1;
        // The whole value has to match: how greedy a repetition is makes no difference.
        self.takes('?');
        if matches!(self.peek(), Some('*' | '+' | '{')) {
            return Err(Invalid::Repetition);
        }
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
            self.at += 1;
            // More than this never fits a program.
            number = Some((number.unwrap_or(0) * 10 + digit).min(100_000));
        }
        number
    }

    fn bracket(&mut self) -> Result<Class, Invalid> {
        let negated = self.takes('^');
        let mut ranges = Vec::new();
        loop {
            let from = match self.next().ok_or(Invalid::Bracket)? {
                ']' if !ranges.is_empty() => return Ok(Class { ranges, negated }),
                '[' => return Err(Invalid::Unsupported),
                '\\' => {
                    let class = escape(self.next().ok_or(Invalid::Escape)?)?;
                    match class.ranges[..] {
                        [(from, to)] if from == to && !class.negated => from,
                        _ if class.negated => return Err(Invalid::Unsupported),
                        _ => {
                            ranges.extend(class.ranges);
                            continue;
                        }
                    }
                }
                character => character,
            };
            let is_range = self.peek() == Some('-') && self.rest.get(self.at + 1).is_some_and(|next| *next != ']');
            if !is_range {
                ranges.push((from, from));
                continue;
            }
            self.at += 1;
            let to = match self.next().ok_or(Invalid::Bracket)? {
                '\\' => self.next().ok_or(Invalid::Escape)?,
                character => character,
            };
            if to < from {
                return Err(Invalid::Bracket);
            }
            ranges.push((from, to));
        }
    }
}

fn escape(character: char) -> Result<Class, Invalid> {
    let digits = vec![('0', '9')];
    let words = vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
    let spaces = vec![(' ', ' '), ('\t', '\r')];
    let class = |ranges, negated| Ok(Class { ranges, negated });
    match character {
        'd' => class(digits, false),
        'D' => class(digits, true),
        'w' => class(words, false),
        'W' => class(words, true),
        's' => class(spaces, false),
        'S' => class(spaces, true),
        'n' => Ok(Class::one('\n')),
        'r' => Ok(Class::one('\r')),
        't' => Ok(Class::one('\t')),
        '1'..='9' | 'b' | 'B' | 'p' | 'P' | 'k' => Err(Invalid::Unsupported),
        other if other.is_ascii_alphanumeric() => Err(Invalid::Escape),
        other => Ok(Class::one(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::compile(pattern).unwrap().matches(text)
    }

    #[test]
    fn the_whole_value_has_to_match() {
        for (pattern, yes, no) in [
            (r"^\d+$", "123", "12a"),
            (r"\d+", "123", "a123"),
            (r"[a-zA-Z_][a-zA-Z0-9_-]*", "a-b_1", "1a"),
            (r"(dev|test|prod)-[0-9]{1,3}", "prod-42", "prod-1234"),
            (r"^(?:https?://)?[^/\s]+\.example\.com$", "https://a.example.com", "https://a/b.example.com"),
            (r"a{2,}b?", "aaa", "a"),
            (r"[\w.]+@[\w.]+", "me@here.org", "me"),
            (r".*", "", "\n"),
            (r"|x", "", "y"),
            (r"[^\]]", "a", "]"),
            (r"ami-.{17}", "ami-0123456789abcdef0", "ami-1"),
        ] {
            assert!(matches(pattern, yes), "{pattern} does not match {yes}");
            assert!(!matches(pattern, no), "{pattern} matches {no:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (pattern, error) in [
            ("(a", Invalid::Group),
            ("a)", Invalid::Group),
            ("[a", Invalid::Bracket),
            ("*a", Invalid::Repetition),
            ("a{3,1}", Invalid::Repetition),
            ("a**", Invalid::Repetition),
            ("(?=a)b", Invalid::Unsupported),
            (r"(a)\1", Invalid::Unsupported),
            (r"\q", Invalid::Escape),
            ("(a{1000}){1000}", Invalid::TooLarge),
            (&"(".repeat(1000), Invalid::TooLarge),
        ] {
            assert_eq!(Pattern::compile(pattern).map(drop), Err(error), "{pattern}");
        }
    }

    #[test]
    fn no_pattern_takes_longer_than_its_length_allows() {
        let value = "a".repeat(8192);
        assert!(!matches(r"(a*)*(a*)*(a|aa)+b", &value));
    }
}
