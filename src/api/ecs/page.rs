//! Pages of a list. The token carries the sort key of the last item that was given out, so that a page is right whatever
//! was added or removed in between.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::error::ApiError;

/// How many results a call gives by default and at most.
#[derive(Clone, Copy)]
pub struct PageSize {
    pub default: usize,
    pub max: usize,
}

/// Most list calls of ECS.
pub const HUNDRED: PageSize = PageSize { default: 100, max: 100 };
/// `ListServices`, alone, gives ten where nothing is said.
pub const TEN: PageSize = PageSize { default: 10, max: 100 };

/// One page of `items`, which are sorted by `key`, and the token of the next.
pub fn page<T, K: Ord + Serialize + DeserializeOwned>(
    items: Vec<T>,
    key: impl Fn(&T) -> K,
    descending: bool,
    token: Option<&str>,
    max_results: Option<i32>,
    size: PageSize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let limit = match max_results {
        None => size.default,
        Some(wanted) => {
            usize::try_from(wanted).ok().filter(|wanted| (1..=size.max).contains(wanted)).ok_or_else(|| {
                ApiError::invalid_parameter(format!("maxResults: {wanted} is not between 1 and {}.", size.max))
            })?
        }
    };
    let last_given: Option<K> = token.map(read_token).transpose()?;
    let is_given = |item: &T| match &last_given {
        None => false,
        Some(last) if descending => key(item) >= *last,
        Some(last) => key(item) <= *last,
    };
    let mut rest = items.into_iter().skip_while(is_given).peekable();
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = match (rest.peek(), page.last()) {
        (Some(_), Some(last)) => Some(write_token(&key(last))),
        _ => None,
    };
    Ok((page, next))
}

fn write_token<K: Serialize>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

fn read_token<K: DeserializeOwned>(token: &str) -> Result<K, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| ApiError::invalid_parameter("Invalid token: nextToken is not one that was given out."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(items: &[u32], descending: bool, step: i32) -> Vec<u32> {
        let (mut seen, mut token) = (Vec::new(), None::<String>);
        loop {
            let (page, next) =
                page(items.to_vec(), |item| *item, descending, token.as_deref(), Some(step), HUNDRED).unwrap();
            seen.extend(page);
            match next {
                Some(next) => token = Some(next),
                None => return seen,
            }
        }
    }

    #[test]
    fn pages_give_everything_once() {
        let up: Vec<u32> = (0..57).collect();
        let down: Vec<u32> = (0..57).rev().collect();
        for step in [1, 7, 57, 100] {
            assert_eq!(all(&up, false, step), up);
            assert_eq!(all(&down, true, step), down);
        }
    }

    #[test]
    fn refuses_a_foreign_token_and_a_wrong_size() {
        let call = |token, max| page(vec![1, 2], |item: &i32| *item, false, token, max, TEN);
        assert!(call(Some("%%"), None).is_err());
        assert!(call(None, Some(0)).is_err());
        assert!(call(None, Some(101)).is_err());
    }
}
