//! RegisterTaskDefinition's bytes: decoder, rules, defaults, and the specification that a node would get. Nothing panics, and
//! what is accepted means the same when it is sent again.

#![no_main]

use coracle::api::ecs::task_definition::read::{read, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok((family, document)) = read(body) else { return };
    let again = write(&family, &document).expect("a document is JSON");
    let (_, read_again) = read(&again).expect("what was accepted is accepted again");
    assert_eq!(document, read_again);
    #[cfg(feature = "host")]
    {
        use coracle::model::Scope;
        let account = "123456789012".parse().expect("an account");
        let scope = Scope { account, region: "us-east-1".parse().expect("a region") };
        let _ = coracle::control::spec::dry_run::dry_run(&scope, family, document);
    }
});
