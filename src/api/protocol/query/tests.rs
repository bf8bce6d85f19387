use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::protocol::tree::{Mode, decode, to_struct};
use crate::api::shape::{Bounds, Wire};
use crate::api::wire::elbv2::{
    CreateListenerInput, CreateTargetGroupInput, DescribeLoadBalancersInput, ModifyTargetGroupAttributesInput,
};

fn read<T: Wire>(form: &str) -> Result<(T, Vec<String>), DecodeError> {
    let typed = parse([form.as_bytes()])?.typed(T::SHAPE)?;
    let decoded = decode(T::SHAPE, typed.tree, Mode::Strict)?;
    Ok((to_struct(decoded.tree)?, typed.ignored))
}

#[test]
fn reads_structures_and_lists() {
    let form = "Action=CreateListener&Version=2015-12-01&LoadBalancerArn=arn%3Aa&Port=80&Protocol=HTTP\
                &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=arn%3At\
                &DefaultActions.member.1.Order=1&Colour=red";
    let (input, ignored) = read::<CreateListenerInput>(form).unwrap();
    assert_eq!(input.port, Some(80));
    let actions = input.default_actions.unwrap();
    assert_eq!(actions[0].r#type.as_deref(), Some("forward"));
    assert_eq!(actions[0].target_group_arn.as_deref(), Some("arn:t"));
    assert_eq!(ignored, ["Colour"]);
    let form = parse([form.as_bytes()]).unwrap();
    assert_eq!(form.action.as_deref(), Some("CreateListener"));
    assert_eq!(form.version.as_deref(), Some("2015-12-01"));
}

#[test]
fn lists_are_ordered_by_number_and_may_be_empty() {
    let (input, _) = read::<DescribeLoadBalancersInput>("Names.member.10=c&Names.member.2=b&Names.member.1=a").unwrap();
    assert_eq!(input.names.unwrap(), ["a", "b", "c"]);
    let (input, _) = read::<DescribeLoadBalancersInput>("Names=&PageSize=7").unwrap();
    assert_eq!((input.names, input.page_size), (Some(vec![]), Some(7)));
    let (input, _) = read::<DescribeLoadBalancersInput>("").unwrap();
    assert_eq!(input.names, None);
}

#[test]
fn wrong_values_name_the_parameter() {
    let refusal = |form| read::<CreateTargetGroupInput>(form).unwrap_err().to_string();
    assert_eq!(refusal("Name=t&Port=http"), "Port: expected an integer, found 'http'");
    assert_eq!(refusal("HealthCheckEnabled=maybe"), "HealthCheckEnabled: expected true or false, found 'maybe'");
    let refused = read::<ModifyTargetGroupAttributesInput>("Attributes.member.x.Key=k").unwrap_err().to_string();
    assert_eq!(refused, "Attributes.member: expected elements numbered from 1, found 'x'");
    assert_eq!(
        refusal("Name=t&Protocol=PIGEON"),
        "1 validation error detected: Value 'PIGEON' at 'protocol' failed to satisfy constraint: Member must satisfy \
         enum value set: [HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP, GENEVE, QUIC, TCP_QUIC]"
    );
}

#[test]
fn reads_maps_and_flattened_lists() {
    const ANY: Bounds = Bounds { min: None, max: None };
    static TEXT: Shape = Shape::String { length: ANY, sensitive: false };
    static MAP: Shape = Shape::Map { value: &TEXT, key_name: "key", value_name: "value", flattened: false };
    static LIST: Shape = Shape::List { member: &TEXT, member_name: "member", flattened: true, length: ANY };
    static MEMBERS: [Member; 2] = [
        Member { name: "m", location_name: "M", shape: &MAP, required: false },
        Member { name: "l", location_name: "L", shape: &LIST, required: false },
    ];
    static SHAPE: Shape = Shape::Structure { name: "S", members: &MEMBERS };
    let form = "M.entry.1.key=a&M.entry.1.value=1&M.entry.2.key=b&M.entry.2.value=2&L.1=x&L.2=y";
    let typed = parse([form.as_bytes()]).unwrap().typed(&SHAPE).unwrap();
    assert_eq!(typed.tree, json!({"m": {"a": "1", "b": "2"}, "l": ["x", "y"]}));
    let keyless = parse([b"M.entry.1.value=1".as_slice()]).unwrap().typed(&SHAPE).unwrap_err();
    assert_eq!(keyless.to_string(), "M.entry.1: expected a key and a value, found 'no key'");
}

#[test]
fn dates_become_seconds() {
    assert_eq!(timestamp("2023-11-14T22:13:20.5Z"), Some(1_700_000_000.5));
    assert_eq!(timestamp("yesterday"), None);
}

#[test]
fn depth_is_bounded() {
    let form = format!("{}=1", "a.".repeat(100));
    assert!(matches!(parse([form.as_bytes()]), Err(DecodeError::TooDeep { .. })));
}

proptest! {
    #[test]
    fn whatever_comes_never_panics(form in "([A-Z]{1,3}|Tags|Names|DefaultActions|Port|\\.member|\\.1|\\.Key|=|&|%[0-9A-F]{2}|[^ ]){0,40}") {
        let _ = read::<CreateListenerInput>(&form);
        let _ = read::<DescribeLoadBalancersInput>(&form);
    }

    #[test]
    fn what_is_written_as_a_form_is_read_back(names in prop::collection::vec("[a-z]{0,8}", 1..20)) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (at, name) in names.iter().enumerate() {
            form.append_pair(&format!("Names.member.{}", at + 1), name);
        }
        let (input, ignored) = read::<DescribeLoadBalancersInput>(&form.finish()).unwrap();
        prop_assert_eq!(input.names.unwrap(), names);
        prop_assert!(ignored.is_empty());
    }
}
