//! Which containers wait for an order: those that depend on others.

use crate::model::TaskDefinition;
use crate::plan::task::containers::Lives;
use crate::runtime::TaskSpec;

pub fn set(spec: &mut TaskSpec, definition: &TaskDefinition) {
    spec.held = Lives::are_needed(definition);
    if !spec.held {
        return;
    }
    let lives = Lives::new(definition);
    for (number, container) in spec.containers.iter_mut().enumerate() {
        container.waits = lives.rule(number).is_some_and(|rule| rule.waits());
    }
}
