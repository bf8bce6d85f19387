//! A line of an access log, as ELB writes those of Application Load Balancers: fields with a space between them, in ELB's
//! order; a hyphen for what there is not; quotes around what a client could fill with spaces.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::proxy::exchange::{Entry, MatchedRule};

/// As ELB cuts what a client says of itself.
const USER_AGENT_BYTES_MAX: usize = 8 * 1024;

/// `2018-07-02T22:23:00.186641Z`.
pub fn iso_8601(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, micro) = (at.hour(), at.minute(), at.second(), at.microsecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
}

/// An entry as a line, without the line's end.
pub struct Line<'a>(pub &'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(f, "{} {} {} ", entry.kind(), iso_8601(entry.ended_at), entry.load_balancer)?;
        write!(f, "{}:{} ", entry.client.ip().to_canonical(), entry.client.port())?;
        or_hyphen(f, entry.target)?;
        match &entry.times {
            Some(times) => {
                write!(f, " {} {} {} ", Seconds(times.request), Seconds(times.target), Seconds(times.response))?
            }
            // The load balancer answered itself.
            None => f.write_str(" -1 -1 -1 ")?,
        }
        write!(f, "{} ", entry.status)?;
        or_hyphen(f, entry.target_status)?;
        write!(f, " {} {} ", entry.received_bytes, entry.sent_bytes)?;
        let request = format!("{} {} {}", entry.method, entry.url(), entry.protocol());
        let agent = entry.user_agent.as_ref().map(|agent| agent.as_bytes());
        let agent = agent.map(|agent| &agent[..agent.len().min(USER_AGENT_BYTES_MAX)]);
        write!(f, "{} {} ", Quoted(Some(request.as_bytes())), Quoted(agent))?;
        or_hyphen(f, entry.tls.as_ref().map(|tls| tls.cipher))?;
        f.write_char(' ')?;
        or_hyphen(f, entry.tls.as_ref().map(|tls| tls.version))?;
        f.write_char(' ')?;
        or_hyphen(f, entry.target_group.as_ref())?;
        let tls = entry.tls.as_ref();
        let server_name = tls.and_then(|tls| tls.server_name.as_deref());
        let certificate = tls.and_then(|tls| tls.certificate.as_deref());
        write!(
            f,
            " {} {} {} ",
            Quoted(entry.trace_id.as_ref().map(|id| id.as_bytes())),
            Quoted(server_name.map(str::as_bytes)),
            Quoted(certificate.map(str::as_bytes))
        )?;
        match entry.rule {
            MatchedRule::None => f.write_char('-')?,
            MatchedRule::Default => f.write_char('0')?,
            MatchedRule::Priority(priority) => write!(f, "{priority}")?,
        }
        write!(f, " {} ", iso_8601(entry.created_at))?;
        self.decisions(f)
    }
}

impl Line<'_> {
    /// What was done, and what came of it.
    fn decisions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let actions = Some(entry.actions).filter(|actions| !actions.is_empty());
        let target = entry.target.map(|target| target.to_string());
        let target_status = entry.target_status.map(|status| status.to_string());
        let fields = [
            actions.map(str::as_bytes),
            entry.redirect_url.as_ref().map(|url| url.as_bytes()),
            entry.error_reason.map(str::as_bytes),
            target.as_deref().map(str::as_bytes),
            target_status.as_deref().map(str::as_bytes),
            entry.classification.map(|(classification, _)| classification.as_bytes()),
            entry.classification.map(|(_, reason)| reason.as_bytes()),
        ];
        for field in fields {
            write!(f, "{} ", Quoted(field))?;
        }
        let transformed = &entry.transformed;
        write!(
            f,
            "{} {} {} {}",
            entry.connection,
            Quoted(transformed.host.as_deref().map(str::as_bytes)),
            Quoted(transformed.uri.as_deref().map(str::as_bytes)),
            Quoted(transformed.status.map(str::as_bytes))
        )
    }
}

pub fn or_hyphen(f: &mut fmt::Formatter<'_>, value: Option<impl fmt::Display>) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{value}"),
        None => f.write_char('-'),
    }
}

/// Seconds with milliseconds.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0.as_secs_f64())
    }
}

/// A text within quotes. What would end the quotes or the line is written as its number, so that no client can make a line
/// say what it did not do.
pub struct Quoted<'a>(pub Option<&'a [u8]>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.filter(|bytes| !bytes.is_empty()).unwrap_or(b"-");
        f.write_char('"')?;
        for byte in bytes {
            match byte {
                b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => write!(f, "\\x{byte:02x}")?,
                printable => f.write_char(char::from(*printable))?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests;
