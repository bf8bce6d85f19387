//! Pages of a describe call. The marker carries the sort key of the last item that was given out, so that a page is right
//! whatever was added or removed in between.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api::error::ApiError;

/// ELB's own bound of `PageSize`, and what it gives where none is said.
const PAGE_SIZE_MAX: usize = 400;

/// One page of `items`, which are sorted by `key`, and the marker of the next.
pub fn page<T>(
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    page_size: Option<i32>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let limit = match page_size {
        None => PAGE_SIZE_MAX,
        Some(size) => {
            usize::try_from(size).ok().filter(|size| (1..=PAGE_SIZE_MAX).contains(size)).ok_or_else(|| {
                ApiError::validation(format_args!("Page size '{size}' must be between 1 and {PAGE_SIZE_MAX}"))
            })?
        }
    };
    // An empty marker is the first page, as the Query protocol may send one.
    let last_given = marker.filter(|marker| !marker.is_empty()).map(read_marker).transpose()?;
    let is_given = |item: &T| last_given.as_ref().is_some_and(|last| key(item) <= *last);
    let mut rest = items.into_iter().skip_while(is_given).peekable();
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = match (rest.peek(), page.last()) {
        (Some(_), Some(last)) => Some(URL_SAFE_NO_PAD.encode(key(last))),
        _ => None,
    };
    Ok((page, next))
}

fn read_marker(marker: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| ApiError::validation("The marker is not one that was given out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_everything_once() {
        let all: Vec<String> = (0..57).map(|number| format!("{number:02}")).collect();
        for size in [1, 7, 57, 400] {
            let (mut seen, mut marker) = (Vec::new(), None::<String>);
            loop {
                let (page, next) = page(all.clone(), String::clone, marker.as_deref(), Some(size)).unwrap();
                seen.extend(page);
                marker = next;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all);
        }
    }

    #[test]
    fn refuses_a_foreign_marker_and_a_wrong_size() {
        let call = |marker, size| page(vec![String::from("a")], String::clone, marker, size);
        assert!(call(Some("%%"), None).is_err());
        assert!(call(None, Some(0)).is_err());
        assert!(call(None, Some(401)).is_err());
        assert!(call(Some(""), None).is_ok());
    }
}
