//! As much of the shell's grammar as health checks use: words, quotes, `&&`, `||`, `;`, and output that is thrown away.
//!
//! What would need a shell (variables, substitution, pipes, patterns) is refused by name, never guessed.

use crate::model::health::Connector;

/// Commands in a line, and words in it: more is no health check that a person wrote.
const COMMANDS_MAX: usize = 8;
const WORDS_MAX: usize = 64;

/// The commands of a line, each as its words, with what joins it to the one before.
pub type Line = Vec<(Connector, Vec<String>)>;

/// Splits a line.
pub fn split(text: &str) -> Result<Line, String> {
    let mut reader = Reader { rest: text.chars().peekable(), line: vec![(Connector::Always, Vec::new())] };
    while reader.step()? {}
    let mut line = reader.line;
    // `a;` ends with nothing.
    if line.len() > 1
        && line.last().is_some_and(|(connector, words)| *connector == Connector::Always && words.is_empty())
    {
        line.pop();
    }
    if line.len() > COMMANDS_MAX || line.iter().any(|(_, words)| words.len() > WORDS_MAX) {
        return Err(String::from("the health check's command is too long"));
    }
    if line.iter().any(|(_, words)| words.is_empty()) {
        return Err(String::from("the health check's command is not a shell's"));
    }
    Ok(line)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: Line,
}

impl Reader<'_> {
    /// Reads one word or one operator; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = self.rest.peek().copied() else { return Ok(false) };
        match first {
            ';' => self.operator(Connector::Always, ";"),
            '&' => {
                self.rest.next();
                match self.rest.peek() {
                    Some('&') => self.operator(Connector::IfPassed, "&&"),
                    Some('>') => self.redirect(),
                    _ => Err(String::from("a health check's command cannot run in the background (`&`)")),
                }
            }
            '|' => {
                self.rest.next();
                match self.rest.peek() {
                    Some('|') => self.operator(Connector::IfFailed, "||"),
                    _ => Err(String::from("a pipe (`|`) needs programs, and there are none inside")),
                }
            }
            '>' => self.redirect(),
            '<' | '(' | ')' | '{' | '}' | '!' => Err(format!("`{first}` needs a shell, and there is none inside")),
            _ => self.word(),
        }
    }

    fn operator(&mut self, connector: Connector, _text: &str) -> Result<bool, String> {
        self.rest.next();
        self.line.push((connector, Vec::new()));
        Ok(true)
    }

    /// `> /dev/null`, `>/dev/null`, `&>/dev/null`, `>&2`, after any number.
    fn redirect(&mut self) -> Result<bool, String> {
        while self.rest.next_if_eq(&'>').is_some() {}
        if self.rest.next_if_eq(&'&').is_some() {
            return match self.rest.next() {
                Some('1' | '2') => Ok(true),
                _ => Err(String::from("output can only be thrown away")),
            };
        }
        while self.rest.next_if(|c| *c == ' ').is_some() {}
        let mut target = String::new();
        while let Some(c) = self.rest.next_if(|c| !c.is_whitespace() && !"&|;".contains(*c)) {
            target.push(c);
        }
        if target == "/dev/null" { Ok(true) } else { Err(String::from("output can only be thrown away")) }
    }

    fn word(&mut self) -> Result<bool, String> {
        let mut word = String::new();
        let mut is_plain = true;
        while let Some(c) = self.rest.peek().copied() {
            match c {
                '\'' => {
                    self.rest.next();
                    is_plain = false;
                    self.quoted('\'', &mut word)?;
                }
                '"' => {
                    self.rest.next();
                    is_plain = false;
                    self.quoted('"', &mut word)?;
                }
                '\\' => {
                    self.rest.next();
                    word.extend(self.rest.next());
                }
                '$' | '`' => return Err(format!("`{c}` needs a shell to replace it, and there is none inside")),
                '>' if is_plain && matches!(word.as_str(), "1" | "2") => return self.redirect(),
                c if c.is_whitespace() || ";&|<>()".contains(c) => break,
                c => {
                    self.rest.next();
                    word.push(c);
                }
            }
        }
        if let Some((_, words)) = self.line.last_mut() {
            words.push(word);
        }
        Ok(true)
    }

    fn quoted(&mut self, quote: char, word: &mut String) -> Result<(), String> {
        loop {
            match self.rest.next() {
                None => return Err(format!("a quote ({quote}) is not closed")),
                Some(c) if c == quote => return Ok(()),
                Some('\\') if quote == '"' => word.extend(self.rest.next()),
                Some(c @ ('$' | '`')) if quote == '"' => {
                    return Err(format!("`{c}` needs a shell to replace it, and there is none inside"));
                }
                Some(c) => word.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        split(text).unwrap().into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        assert_eq!(words("curl -f 'http://a b' \"c\\\"d\" e\\ f"), [["curl", "-f", "http://a b", "c\"d", "e f"]]);
        assert_eq!(words("curl x||exit 1"), [vec!["curl", "x"], vec!["exit", "1"]]);
        let connectors: Vec<_> =
            split("a && b || c; d;").unwrap().into_iter().map(|(connector, _)| connector).collect();
        use Connector::{Always, IfFailed, IfPassed};
        assert_eq!(connectors, [Always, IfPassed, IfFailed, Always]);
        for silent in ["a >/dev/null", "a > /dev/null 2>&1", "a 2> /dev/null", "a &>/dev/null", "a >>/dev/null"] {
            assert_eq!(words(silent), [["a"]], "{silent}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        for text in
            ["a | b", "a $B", "a \"$B\"", "a `b`", "(a)", "a &", "a > file", "a 'b", "", "a ||", "&& a", "a < b"]
        {
            assert!(split(text).is_err(), "{text}");
        }
        assert!(split(&"a;".repeat(100)).is_err());
    }
}
