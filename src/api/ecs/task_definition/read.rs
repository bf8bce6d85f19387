//! What becomes of the bytes of a RegisterTaskDefinition, without a server and without a state: the decoder, the rules and the
//! defaults, one after the other. The fuzz target of definitions calls this; whatever the bytes are, it must not panic.

use serde_json::Value;

use crate::api::ecs::task_definition::{document, rules};
use crate::api::error::ApiError;
use crate::api::protocol::json;
use crate::api::protocol::tree::{Mode, decode, to_struct};
use crate::api::shape::Wire;
use crate::api::wire::ecs as wire;
use crate::model::Family;
use crate::model::task_definition::TaskDocument;

/// The family and what is kept of a definition, or why it is refused.
pub fn read(body: &[u8]) -> Result<(Family, TaskDocument), ApiError> {
    let tree = json::parse(body).map_err(ApiError::client)?;
    let decoded = decode(wire::RegisterTaskDefinitionRequest::SHAPE, tree, Mode::Strict).map_err(ApiError::client)?;
    let request: wire::RegisterTaskDefinitionRequest = to_struct(decoded.tree).map_err(ApiError::client)?;
    rules::check(&request)?;
    let family = request.family.as_deref().unwrap_or_default().parse().map_err(|_| rules::family_invalid())?;
    Ok((family, document(request)?))
}

/// A definition as a client would send it again.
pub fn write(family: &Family, document: &TaskDocument) -> serde_json::Result<Vec<u8>> {
    let mut tree = serde_json::to_value(document)?;
    if let Value::Object(members) = &mut tree {
        members.insert(String::from("family"), Value::String(family.as_str().to_owned()));
    }
    serde_json::to_vec(&tree)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The same as the fuzz target begins with.
    fn seeds() -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/definition");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// Accepted definitions mean the same when they are sent again.
    fn check(body: &[u8]) {
        if let Ok((family, document)) = read(body) {
            let again = write(&family, &document).unwrap();
            let (_, read_again) =
                read(&again).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&again)));
            assert_eq!(document, read_again, "{}", String::from_utf8_lossy(body));
        }
    }

    /// Values that programs trip over.
    fn trip(which: usize) -> Value {
        let deep = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let all = [
            json!(null),
            json!(-1),
            json!(0),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(0.5),
            json!(""),
            json!("\u{0}"),
            json!("../../etc/passwd"),
            json!("/"),
            json!("0-65535"),
            json!("65536"),
            json!("80-79"),
            json!("1.5 vCPU"),
            json!("99999999999 GB"),
            json!("x".repeat(70_000)),
            json!("é\u{202e}\u{1f980}"),
            json!([]),
            json!({}),
            json!([null]),
            json!([{}]),
            json!({"": {}}),
            json!(true),
            deep(100),
            json!(vec![json!({}); 2000]),
            json!("arn:aws:ecs:::"),
            json!("file://"),
            json!("${A}"),
            json!("a\nb"),
            json!(4_294_967_296u64),
            json!("-0"),
        ];
        all[which % all.len()].clone()
    }

    /// Puts a value in the place of the `at`th node, in the order of the text.
    fn replace(tree: &mut Value, at: &mut usize, with: &Value) {
        if *at == 0 {
            *tree = with.clone();
        }
        *at = at.wrapping_sub(1);
        match tree {
            _ if *at == usize::MAX => {}
            Value::Array(items) => items.iter_mut().for_each(|item| {
                if *at != usize::MAX {
                    replace(item, at, with)
                }
            }),
            Value::Object(members) => {
                members.values_mut().for_each(|member| {
                    if *at != usize::MAX {
                        replace(member, at, with)
                    }
                });
            }
            _ => {}
        }
    }

    #[test]
    fn every_seed_is_read_and_most_are_accepted() {
        let seeds = seeds();
        let accepted = seeds.iter().filter(|seed| read(seed).is_ok()).count();
        seeds.iter().for_each(|seed| check(seed));
        assert!(seeds.len() >= 4 && accepted * 2 > seeds.len(), "{accepted} of {}", seeds.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn nothing_in_the_place_of_a_value_panics(which: usize, places in prop::collection::vec((0usize..400, any::<usize>()), 1..4)) {
            let seeds = seeds();
            let mut tree: Value = serde_json::from_slice(&seeds[which % seeds.len()]).unwrap();
            for (at, what) in places {
                replace(&mut tree, &mut { at }, &trip(what));
            }
            check(&serde_json::to_vec(&tree).unwrap());
        }

        #[test]
        fn no_damage_of_the_text_panics(which: usize, places in prop::collection::vec((any::<usize>(), any::<u8>(), 0u8..4), 1..6)) {
            let seeds = seeds();
            let mut body = seeds[which % seeds.len()].clone();
            for (at, byte, how) in places {
                let at = at % body.len();
                match how {
                    0 => body[at] = byte,
                    1 => body.truncate(at.max(1)),
                    2 => body.insert(at, byte),
                    _ => _ = body.remove(at),
                }
                if body.is_empty() {
                    return Ok(());
                }
            }
            check(&body);
        }
    }
}
