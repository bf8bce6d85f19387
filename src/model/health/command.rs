//! The commands of health checks that can be made without running them.

use std::time::Duration;

use crate::model::health::shell::{Line, split};
use crate::model::health::{Connector, Probe, Step};

/// What can be written, for those whose command cannot be made.
pub const MAPPABLE: &str = "what works: `curl` or `wget` of http://localhost:PORT/PATH, `nc -z localhost PORT`, \
                            [\"CMD\", \"wasm:EXPORT\"] for a function of the component, `true`, [\"NONE\"]";

/// A question over HTTP to the task itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    pub method: String,
    /// As the URL names it, for the `Host` header.
    pub authority: String,
    pub port: u16,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// Whether an answer of 400 and more fails it: `curl -f`, and always `wget`. Without, any answer passes.
    pub fails_on_errors: bool,
    /// Redirections within the task that are followed.
    pub follows: u32,
    /// The command's own limit, within the check's.
    pub timeout: Option<Duration>,
}

/// Redirections that `wget` follows, as it does by default; `curl -L` allows 50 and needs no more.
const FOLLOWS_MAX: u32 = 20;

/// `None` where the command asks for no check.
pub fn parse(command: &[&str]) -> Result<Option<Probe>, String> {
    let line = match command {
        [] | ["NONE", ..] => return Ok(None),
        ["CMD", words @ ..] => direct(words)?,
        // The old form: one string is run by the shell.
        ["CMD-SHELL", text] | [text] => split(text)?,
        ["CMD-SHELL", words @ ..] => split(&words.join(" "))?,
        _ => return Err(String::from("the health check's command begins with neither CMD nor CMD-SHELL")),
    };
    let mut steps = line.into_iter().map(|(connector, words)| Ok((connector, step(&words)?)));
    let Some(first) = steps.next() else { return Ok(None) };
    let (_, first) = first?;
    Ok(Some(Probe { first, rest: steps.collect::<Result<_, String>>()? }))
}

/// Words as they are; only `sh -c TEXT` is what a shell reads.
fn direct(words: &[&str]) -> Result<Line, String> {
    match words {
        [shell, flag, text] if is_shell(shell) && matches!(*flag, "-c" | "-ec" | "-lc") => split(text),
        [] => Err(String::from("the health check has no command")),
        // Docker gives `["CMD", "curl -f URL"]` to no shell and fails; that is what it means all the same.
        [text] if text.contains(' ') => split(text),
        words => {
            let end = words.iter().position(|word| *word == "||").unwrap_or(words.len());
            let (command, rest) = words.split_at(end);
            let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
            let mut line = vec![(Connector::Always, owned(command))];
            if let Some(rest) = rest.get(1..).filter(|rest| !rest.is_empty()) {
                line.push((Connector::IfFailed, owned(rest)));
            }
            Ok(line)
        }
    }
}

fn is_shell(word: &str) -> bool {
    matches!(program(word), "sh" | "bash" | "ash" | "dash")
}

/// The name without its directory.
fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn step(words: &[String]) -> Result<Step, String> {
    let Some((first, rest)) = words.split_first() else { return Err(String::from("a command is missing")) };
    if let Some(name) = first.strip_prefix("wasm:") {
        return match (name, rest) {
            ("", _) => Err(String::from("`wasm:` names no function")),
            (_, []) => Ok(Step::Export(name.to_owned())),
            _ => Err(String::from("a function that checks the health takes no arguments")),
        };
    }
    match program(first) {
        "curl" => curl(rest).map(Step::Http),
        "wget" => wget(rest).map(Step::Http),
        "nc" | "ncat" | "netcat" => connect(rest),
        "true" | ":" | "echo" => Ok(Step::Known { passes: true }),
        "false" => Ok(Step::Known { passes: false }),
        "exit" => match rest {
            [] => Ok(Step::Exit { passes: true }),
            [code] => match code.parse::<u8>() {
                Ok(code) => Ok(Step::Exit { passes: code == 0 }),
                Err(_) => Err(format!("`exit {code}` is no exit code")),
            },
            _ => Err(String::from("`exit` takes one number")),
        },
        name => Err(format!("`{name}` cannot be run, because there are no programs inside")),
    }
}

/// What the flags have said so far.
struct Asked {
    method: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    fails_on_errors: bool,
    follows: u32,
    timeout: Option<Duration>,
    url: Option<String>,
}

impl Asked {
    fn probe(self, program: &str) -> Result<HttpProbe, String> {
        let url = self.url.ok_or_else(|| format!("`{program}` is given no URL"))?;
        let (authority, port, path) = local(&url)?;
        let method = self.method.unwrap_or_else(|| String::from(if self.body.is_some() { "POST" } else { "GET" }));
        Ok(HttpProbe {
            method,
            authority,
            port,
            path,
            headers: self.headers,
            body: self.body,
            fails_on_errors: self.fails_on_errors,
            follows: self.follows,
            timeout: self.timeout,
        })
    }

    fn url(&mut self, url: &str, program: &str) -> Result<(), String> {
        match self.url.replace(url.to_owned()) {
            None => Ok(()),
            Some(_) => Err(format!("`{program}` is given more than one URL")),
        }
    }

    fn header(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(':').ok_or_else(|| format!("`{text}` is no header"))?;
        self.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        Ok(())
    }

    fn timeout(&mut self, text: &str) -> Result<(), String> {
        let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no time"))?;
        // 0 is no limit of its own.
        if seconds > 0.0 {
            self.timeout = Some(Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no time"))?);
        }
        Ok(())
    }
}

/// Flags of one program, one after the other: `-ab VALUE`, `-aVALUE`, `--name VALUE`, `--name=VALUE`.
struct Flags<'a> {
    words: std::slice::Iter<'a, String>,
    /// Letters of the word that was read last.
    letters: String,
}

enum Flag {
    Short(char),
    Long(String, Option<String>),
    Word(String),
}

impl Flags<'_> {
    fn next(&mut self) -> Option<Flag> {
        if !self.letters.is_empty() {
            return Some(Flag::Short(self.letters.remove(0)));
        }
        let word = self.words.next()?;
        if let Some(long) = word.strip_prefix("--") {
            return Some(match long.split_once('=') {
                Some((name, value)) => Flag::Long(name.to_owned(), Some(value.to_owned())),
                None => Flag::Long(long.to_owned(), None),
            });
        }
        match word.strip_prefix('-') {
            Some(letters) if !letters.is_empty() => {
                self.letters = letters.to_owned();
                Some(Flag::Short(self.letters.remove(0)))
            }
            _ => Some(Flag::Word(word.clone())),
        }
    }

    /// What follows the flag: the rest of its word, or the next one.
    fn value(&mut self, given: Option<String>, flag: &str) -> Result<String, String> {
        if let Some(given) = given {
            return Ok(given);
        }
        if !self.letters.is_empty() {
            return Ok(std::mem::take(&mut self.letters));
        }
        self.words.next().cloned().ok_or_else(|| format!("`{flag}` is given no value"))
    }
}

fn curl(words: &[String]) -> Result<HttpProbe, String> {
    let mut flags = Flags { words: words.iter(), letters: String::new() };
    let mut asked = Asked {
        method: None,
        headers: Vec::new(),
        body: None,
        fails_on_errors: false,
        follows: 0,
        timeout: None,
        url: None,
    };
    while let Some(flag) = flags.next() {
        let (name, given) = match flag {
            Flag::Word(url) => {
                asked.url(&url, "curl")?;
                continue;
            }
            Flag::Short(letter) => (letter.to_string(), None),
            Flag::Long(name, given) => (name, given),
        };
        match name.as_str() {
            "f" | "fail" | "fail-with-body" | "fail-early" => asked.fails_on_errors = true,
            // About the output, about TLS, or how it is anyway.
            "s" | "silent" | "S" | "show-error" | "v" | "verbose" | "i" | "include" | "k" | "insecure" | "g"
            | "globoff" | "q" | "disable" | "N" | "no-buffer" | "4" | "ipv4" | "http1.1" | "no-progress-meter"
            | "#" | "compressed" => {}
            "o" | "output" | "w" | "write-out" | "noproxy" | "connect-timeout" => {
                flags.value(given, &name)?;
            }
            "I" | "head" => asked.method = Some(String::from("HEAD")),
            "L" | "location" => asked.follows = FOLLOWS_MAX,
            "X" | "request" => asked.method = Some(flags.value(given, &name)?),
            "H" | "header" => asked.header(&flags.value(given, &name)?)?,
            "A" | "user-agent" => {
                let agent = flags.value(given, &name)?;
                asked.headers.push((String::from("user-agent"), agent));
            }
            "d" | "data" | "data-raw" => asked.body = Some(flags.value(given, &name)?),
            "m" | "max-time" => asked.timeout(&flags.value(given, &name)?)?,
            "url" => {
                let url = flags.value(given, &name)?;
                asked.url(&url, "curl")?;
            }
            other => return Err(format!("`curl` with the flag `{other}` cannot be stood in for")),
        }
    }
    asked.probe("curl")
}

fn wget(words: &[String]) -> Result<HttpProbe, String> {
    let mut flags = Flags { words: words.iter(), letters: String::new() };
    let mut asked = Asked {
        method: None,
        headers: Vec::new(),
        body: None,
        fails_on_errors: true,
        follows: FOLLOWS_MAX,
        timeout: None,
        url: None,
    };
    while let Some(flag) = flags.next() {
        let (name, given) = match flag {
            Flag::Word(url) => {
                asked.url(&url, "wget")?;
                continue;
            }
            // `-nv`: the `n` belongs to the letter after it.
            Flag::Short('n') => (format!("n{}", std::mem::take(&mut flags.letters)), None),
            Flag::Short(letter) => (letter.to_string(), None),
            Flag::Long(name, given) => (name, given),
        };
        match name.as_str() {
            "q"
            | "quiet"
            | "nv"
            | "no-verbose"
            | "S"
            | "server-response"
            | "no-check-certificate"
            | "no-proxy"
            | "no-cache"
            | "4"
            | "inet4-only"
            | "d"
            | "v" => {}
            // An error in the answer ends it at once, so further tries are about connections that break.
            "O" | "output-document" | "t" | "tries" | "Y" | "proxy" | "o" | "output-file" => {
                flags.value(given, &name)?;
            }
            "spider" => asked.method = Some(String::from("HEAD")),
            "T" | "timeout" => asked.timeout(&flags.value(given, &name)?)?,
            "header" => asked.header(&flags.value(given, &name)?)?,
            "method" => asked.method = Some(flags.value(given, &name)?),
            "post-data" => asked.body = Some(flags.value(given, &name)?),
            "max-redirect" => {
                let count = flags.value(given, &name)?;
                asked.follows = count.parse().map_err(|_| format!("`{count}` is no number"))?;
            }
            "U" | "user-agent" => {
                let agent = flags.value(given, &name)?;
                asked.headers.push((String::from("user-agent"), agent));
            }
            other => return Err(format!("`wget` with the flag `{other}` cannot be stood in for")),
        }
    }
    asked.probe("wget")
}

/// Host (in brackets or not), port and path of a URL of the task itself.
pub fn local(url: &str) -> Result<(String, u16, String), String> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) => return Err(format!("a health check over {scheme} cannot be made")),
        None => url,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)),
        _ => (authority, Some(80)),
    };
    let port = port.ok_or_else(|| format!("`{authority}` has no valid port"))?;
    let is_local = matches!(host.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0");
    if !is_local {
        return Err(format!("a health check can only ask localhost, not `{host}`"));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{path}` is no path of a URL"));
    }
    Ok((authority.to_owned(), port, path))
}

/// `nc -z localhost PORT`.
fn connect(words: &[String]) -> Result<Step, String> {
    let mut operands = Vec::new();
    let mut only_connects = false;
    let mut flags = Flags { words: words.iter(), letters: String::new() };
    while let Some(flag) = flags.next() {
        match flag {
            Flag::Word(word) => operands.push(word),
            Flag::Short('z') => only_connects = true,
            Flag::Short('v' | 'n' | '4') => {}
            Flag::Short('w') => drop(flags.value(None, "w")?),
            Flag::Short(other) => return Err(format!("`nc` with the flag `{other}` cannot be stood in for")),
            Flag::Long(other, _) => return Err(format!("`nc` with the flag `{other}` cannot be stood in for")),
        }
    }
    match &operands[..] {
        [host, port] if only_connects => {
            let (_, port, _) = local(&format!("{host}:{port}"))?;
            Ok(Step::Connect { port })
        }
        _ => Err(String::from("`nc` can only be stood in for as `nc -z localhost PORT`")),
    }
}

#[cfg(test)]
mod tests;
