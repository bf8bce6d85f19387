//! Random passwords.

use zeroize::Zeroizing;

use crate::api::context::{Context, IdSource};
use crate::api::error::ApiError;
use crate::api::wire::secretsmanager as wire;
use crate::store::View;

const LENGTH_DEFAULT: i64 = 32;
const LENGTH_MAX: i64 = 4096;
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

pub fn get(
    cx: &Context,
    _: &mut View,
    input: wire::GetRandomPasswordRequest,
) -> Result<wire::GetRandomPasswordResponse, ApiError> {
    let length = input.password_length.unwrap_or(LENGTH_DEFAULT);
    let length = usize::try_from(length)
        .ok()
        .filter(|_| (1..=LENGTH_MAX).contains(&length))
        .ok_or_else(|| ApiError::invalid_parameter(format!("PasswordLength must be between 1 and {LENGTH_MAX}.")))?;
    let excluded = input.exclude_characters.unwrap_or_default();
    let types = [
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", input.exclude_uppercase != Some(true)),
        ("abcdefghijklmnopqrstuvwxyz", input.exclude_lowercase != Some(true)),
        ("0123456789", input.exclude_numbers != Some(true)),
        (PUNCTUATION, input.exclude_punctuation != Some(true)),
        (" ", input.include_space == Some(true)),
    ];
    let types = types.into_iter().filter(|(_, included)| *included);
    let left = |(all, _): (&str, bool)| all.chars().filter(|c| !excluded.contains(*c)).collect::<Vec<char>>();
    let types: Vec<Vec<char>> = types.map(left).collect();
    let each = input.require_each_included_type != Some(false);
    if each && types.iter().any(Vec::is_empty) || types.iter().all(Vec::is_empty) {
        return Err(ApiError::invalid_parameter(
            "No characters of a required type are left: exclude less, or do not require each included type.",
        ));
    }
    if each && length < types.len() {
        return Err(ApiError::invalid_parameter(format!(
            "PasswordLength is too short for one character of each of the {} included types.",
            types.len()
        )));
    }
    let mut draw = Draw { ids: &cx.ids, bits: 0, left: 0 };
    let all: Vec<char> = types.concat();
    let mut password: Zeroizing<Vec<char>> = Zeroizing::new(Vec::with_capacity(length));
    if each {
        password.extend(types.iter().map(|of_type| of_type[draw.below(of_type.len())]));
    }
    while password.len() < length {
        let character = all[draw.below(all.len())];
        password.push(character);
    }
    // Fisher and Yates: so that the characters of each type stand anywhere.
    for at in (1..password.len()).rev() {
        password.swap(at, draw.below(at + 1));
    }
    Ok(wire::GetRandomPasswordResponse { random_password: Some(password.iter().collect()) })
}

/// Draws numbers below a bound, each as likely as any other.
struct Draw<'a> {
    ids: &'a IdSource,
    bits: u128,
    left: u32,
}

impl Draw<'_> {
    fn below(&mut self, bound: usize) -> usize {
        // The largest multiple of the bound that 16 bits hold: what lies above it would favour small numbers.
        let fair = 65_536 / bound * bound;
        loop {
            if self.left == 0 {
                (self.bits, self.left) = (self.ids.bits(), 8);
            }
            let number = usize::try_from(self.bits & 0xffff).unwrap_or(usize::MAX);
            self.bits >>= 16;
            self.left -= 1;
            if number < fair {
                return number % bound;
            }
        }
    }
}
