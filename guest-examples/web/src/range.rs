//! One range of bytes of a file (RFC 9110, section 14), which is what players and resumed downloads ask for.

/// What a `Range` header means for a file.
#[derive(Debug, PartialEq)]
pub enum Ranged {
    /// No range, or one that may be ignored: several, another unit, or malformed.
    Whole,
    /// From the first byte to the last, both included.
    Part(u64, u64),
    /// Nothing of the file lies in it: 416.
    Outside,
}

pub fn parse(header: Option<&str>, length: u64) -> Ranged {
    let Some(range) = header.and_then(|header| header.strip_prefix("bytes=")) else { return Ranged::Whole };
    let Some((first, last)) = range.split_once('-') else { return Ranged::Whole };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Ranged::Whole,
        (Ok(first), _) if first >= length => match last.is_empty() || last.parse::<u64>().is_ok() {
            true => Ranged::Outside,
            false => Ranged::Whole,
        },
        (Ok(first), Ok(last)) => Ranged::Part(first, last.min(length - 1)),
        (Ok(first), Err(_)) if last.is_empty() => Ranged::Part(first, length - 1),
        // The last so many bytes.
        (Err(_), Ok(count)) if first.is_empty() => match count.min(length) {
            0 => Ranged::Outside,
            count => Ranged::Part(length - count, length - 1),
        },
        _ => Ranged::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ranged, parse};

    #[test]
    fn reads_one_range() {
        let of_ten = |header| parse(Some(header), 10);
        assert_eq!(parse(None, 10), Ranged::Whole);
        assert_eq!(of_ten("bytes=0-3"), Ranged::Part(0, 3));
        assert_eq!(of_ten("bytes=4-"), Ranged::Part(4, 9));
        assert_eq!(of_ten("bytes=-3"), Ranged::Part(7, 9));
        assert_eq!(of_ten("bytes=-30"), Ranged::Part(0, 9));
        assert_eq!(of_ten("bytes=5-99"), Ranged::Part(5, 9));
        assert_eq!(of_ten("bytes=10-"), Ranged::Outside);
        assert_eq!(of_ten("bytes=-0"), Ranged::Outside);
        assert_eq!(parse(Some("bytes=-1"), 0), Ranged::Outside);
        for ignored in
            ["bytes=3-1", "bytes=0-1,4-5", "lines=0-1", "bytes=x-1", "bytes=1-x", "bytes=12-x", "bytes=-", "bytes=3"]
        {
            assert_eq!(of_ten(ignored), Ranged::Whole, "{ignored}");
        }
    }
}
