//! Tuples as bytes that sort as the tuples do: what keys and places in indexes are made of.
//!
//! A text is data, whatever it holds: a `/` in a name is no level. It is its UTF-8 with one added to every byte, then a
//! zero. UTF-8 has no byte above 0xF4, so nothing overflows and nothing needs an escape, and the zero sorts before
//! whatever could follow. Numbers are big-endian. Every part carries a tag, so that a tuple can be taken apart again for
//! a person's eyes.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::model::Scope;

const TEXT: u8 = 1;
const PORT: u8 = 2;
const NUMBER: u8 = 3;
const ADDRESS: u8 = 4;
const ID: u8 = 5;
const TIME: u8 = 6;

/// One part of a tuple, taken apart again. The order of the variants is the order of their tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Text(String),
    Port(u16),
    Number(u32),
    Address(Ipv4Addr),
    Id(u128),
    /// Milliseconds since the epoch.
    Time(i64),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Text(text) => write!(f, "{text:?}"),
            Part::Port(port) => write!(f, "{port}"),
            Part::Number(number) => write!(f, "{number}"),
            Part::Address(address) => write!(f, "{address}"),
            Part::Id(id) => write!(f, "{id:032x}"),
            Part::Time(time) => write!(f, "{time}"),
        }
    }
}

/// A tuple while it is being encoded.
#[derive(Default)]
pub(crate) struct Tuple(Vec<u8>);

impl Tuple {
    pub(crate) fn new() -> Tuple {
        // Account, region, kind, a name and an id fit without growing.
        Tuple(Vec::with_capacity(96))
    }

    pub(crate) fn text(mut self, text: &str) -> Tuple {
        self.0.push(TEXT);
        // UTF-8 never holds 0xF5 to 0xFF, so the addition cannot wrap.
        self.0.extend(text.bytes().map(|byte| byte + 1));
        self.0.push(0);
        self
    }

    pub(crate) fn scope(self, scope: &Scope) -> Tuple {
        self.text(scope.account.as_str()).text(scope.region.as_str())
    }

    pub(crate) fn port(self, port: u16) -> Tuple {
        self.fixed(PORT, &port.to_be_bytes())
    }

    pub(crate) fn number(self, number: u32) -> Tuple {
        self.fixed(NUMBER, &number.to_be_bytes())
    }

    pub(crate) fn address(self, address: Ipv4Addr) -> Tuple {
        self.fixed(ADDRESS, &address.octets())
    }

    pub(crate) fn id(self, id: u128) -> Tuple {
        self.fixed(ID, &id.to_be_bytes())
    }

    pub(crate) fn time(self, time: i64) -> Tuple {
        // With the sign bit turned over, negative times sort before positive ones.
        self.fixed(TIME, &((time as u64) ^ (1 << 63)).to_be_bytes())
    }

    fn fixed(mut self, tag: u8, bytes: &[u8]) -> Tuple {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn finish(self) -> Arc<[u8]> {
        self.0.into()
    }
}

/// Takes a tuple apart; `None` where the bytes are no tuple of ours.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        let (part, rest) = match *tag {
            TEXT => text_part(rest)?,
            PORT => number_part(rest, |bytes| Part::Port(u16::from_be_bytes(bytes)))?,
            NUMBER => number_part(rest, |bytes| Part::Number(u32::from_be_bytes(bytes)))?,
            ADDRESS => number_part(rest, |bytes: [u8; 4]| Part::Address(Ipv4Addr::from(bytes)))?,
            ID => number_part(rest, |bytes| Part::Id(u128::from_be_bytes(bytes)))?,
            TIME => number_part(rest, |bytes| Part::Time((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64))?,
            _ => return None,
        };
        parts.push(part);
        bytes = rest;
    }
    Some(parts)
}

fn text_part(bytes: &[u8]) -> Option<(Part, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let text = bytes[..end].iter().map(|byte| byte - 1).collect();
    Some((Part::Text(String::from_utf8(text).ok()?), &bytes[end + 1..]))
}

fn number_part<const N: usize>(bytes: &[u8], part: impl FnOnce([u8; N]) -> Part) -> Option<(Part, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<N>()?;
    Some((part(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(parts: &[Part]) -> Arc<[u8]> {
        parts
            .iter()
            .fold(Tuple::new(), |tuple, part| match part {
                Part::Text(text) => tuple.text(text),
                Part::Port(port) => tuple.port(*port),
                Part::Number(number) => tuple.number(*number),
                Part::Address(address) => tuple.address(*address),
                Part::Id(id) => tuple.id(*id),
                Part::Time(time) => tuple.time(*time),
            })
            .finish()
    }

    fn part() -> impl Strategy<Value = Part> {
        let text = prop_oneof![
            proptest::collection::vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect()),
            // Few letters, so that texts often begin alike; the ends of UTF-8's range among them.
            proptest::collection::vec(prop_oneof![Just('\0'), Just('/'), Just('a'), Just('\u{10ffff}')], 0..4)
                .prop_map(|chars| chars.into_iter().collect::<String>()),
        ];
        prop_oneof![
            text.prop_map(Part::Text),
            any::<u16>().prop_map(Part::Port),
            any::<u32>().prop_map(Part::Number),
            any::<u32>().prop_map(|bits| Part::Address(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(Part::Id),
            any::<i64>().prop_map(Part::Time),
        ]
    }

    fn tuple() -> impl Strategy<Value = Vec<Part>> {
        proptest::collection::vec(part(), 0..4)
    }

    proptest! {
        #[test]
        fn encoded_tuples_sort_as_the_tuples_do(one in tuple(), other in tuple()) {
            prop_assert_eq!(encode(&one).cmp(&encode(&other)), one.cmp(&other));
        }

        #[test]
        fn a_tuple_can_be_taken_apart_again(parts in tuple()) {
            prop_assert_eq!(decode(&encode(&parts)), Some(parts));
        }

        #[test]
        fn bytes_of_others_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(parts) = decode(&bytes) {
                prop_assert_eq!(encode(&parts).to_vec(), bytes);
            }
        }
    }
}
