//! Cookies: what a client sent, and what it is asked to keep.
//!
//! Reading takes nothing from the heap, as each request to a sticky target group is looked through.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use time::OffsetDateTime;

/// How long clients are told to keep the cookies of a load balancer, as ELB's do; for how long they are honoured is said
/// inside of them.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Every value of the cookie of this name, in the order in which they were sent. Names have case.
pub fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(move |pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| unquoted(value.trim()))
    })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Sets the cookie `name` and its twin `nameCORS`, which browsers also send with requests of other sites: as ELB writes
/// them. What is no value of a cookie is not sent.
pub fn set_pair(headers: &mut HeaderMap, name: &str, value: &str, now: SystemTime) {
    let expires = date(now + KEPT);
    let plain = format!("{name}={value}; Expires={expires}; Path=/");
    let cors = format!("{name}CORS={value}; Expires={expires}; Path=/; SameSite=None; Secure");
    append(headers, &plain);
    append(headers, &cors);
}

/// Sets one cookie alone.
pub fn set(headers: &mut HeaderMap, name: &str, value: &str, now: SystemTime) {
    append(headers, &format!("{name}={value}; Expires={}; Path=/", date(now + KEPT)));
}

fn append(headers: &mut HeaderMap, line: &str) {
    if let Ok(line) = HeaderValue::from_str(line) {
        headers.append(SET_COOKIE, line);
    }
}

/// Whether a response sets the cookie of this name.
pub fn sets(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|line| {
        let key = line.to_str().ok().and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        key == Some(name)
    })
}

/// As HTTP writes dates: `Thu, 09 Mar 2023 15:08:01 GMT`.
fn date(at: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = OffsetDateTime::from(at);
    let day = DAYS[usize::from(at.weekday().number_days_from_monday())];
    let month = MONTHS[usize::from(u8::from(at.month()) - 1)];
    let (year, clock) = (at.year(), at.time());
    format!(
        "{day}, {:02} {month} {year:04} {:02}:{:02}:{:02} GMT",
        at.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// Seconds since 1970: how sealed cookies write times.
pub fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_in_any_line_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; AWSALBTG=x+/=; b"));
        headers.append(COOKIE, HeaderValue::from_static("AWSALBTGCORS=z;AWSALBTG=\"y\"; awsalbtg=n;"));
        assert_eq!(values(&headers, "AWSALBTG").collect::<Vec<_>>(), ["x+/=", "y"]);
        assert_eq!(values(&headers, "AWSALBTGCORS").collect::<Vec<_>>(), ["z"]);
        assert_eq!(values(&headers, "b").count(), 0);
    }

    #[test]
    fn both_cookies_are_set_as_elb_sets_them() {
        let mut headers = HeaderMap::new();
        let now = UNIX_EPOCH + Duration::from_secs(1_677_769_681);
        set_pair(&mut headers, "AWSALBTG", "abc", now);
        let lines: Vec<_> = headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(
            lines,
            [
                "AWSALBTG=abc; Expires=Thu, 09 Mar 2023 15:08:01 GMT; Path=/",
                "AWSALBTGCORS=abc; Expires=Thu, 09 Mar 2023 15:08:01 GMT; Path=/; SameSite=None; Secure",
            ]
        );
    }
}
