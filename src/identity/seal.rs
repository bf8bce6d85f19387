//! Seals what is secret before it is kept, and opens it again: AES-256-GCM under one key of the data directory.
//!
//! A sealed value is bound to the record that holds it (as associated data), so that one that was copied into another
//! record does not open there. Nonces are 96 random bits, drawn anew for each value: by the birthday bound the chance
//! that two of 2^32 values ever share one is below 2^-32, and a store holds far fewer.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use zeroize::Zeroizing;

use crate::model::Sealed;

pub const KEY_BYTES: usize = 32;
pub const NONCE_BYTES: usize = 12;

/// The key, which is never printed.
pub struct SealingKey {
    /// Holds the expanded key, and wipes it when it is dropped.
    cipher: Aes256Gcm,
}

/// The key is another one, or the value is not what was sealed for this record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open: the sealing key is another one, or the store was changed by other hands")]
pub struct CannotOpen;

impl SealingKey {
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> SealingKey {
        let bytes = Zeroizing::new(bytes);
        SealingKey { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*bytes)) }
    }

    /// The key as its file holds it: 64 hexadecimal digits. `None` for anything else.
    pub fn parse(text: &str) -> Option<SealingKey> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(SealingKey::from_bytes(*bytes))
    }

    /// Seals `plain` for the record of that identity. A nonce must never come twice.
    pub fn seal(&self, plain: &[u8], identity: &str, nonce: [u8; NONCE_BYTES]) -> Sealed {
        let payload = Payload { msg: plain, aad: identity.as_bytes() };
        let ciphertext =
            self.cipher.encrypt(&Nonce::from(nonce), payload).expect("values are far below the cipher's 64 GiB");
        let mut bytes = Vec::with_capacity(NONCE_BYTES + ciphertext.len());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&ciphertext);
        Sealed(bytes)
    }

    /// Opens what was sealed for the record of that identity. The value is wiped when it is dropped.
    pub fn open(&self, sealed: &Sealed, identity: &str) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let (nonce, ciphertext) = sealed.0.split_first_chunk::<NONCE_BYTES>().ok_or(CannotOpen)?;
        let payload = Payload { msg: ciphertext, aad: identity.as_bytes() };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| CannotOpen)
    }

    /// The same of a value that was sealed as text.
    pub fn open_text(&self, sealed: &Sealed, identity: &str) -> Result<Zeroizing<String>, CannotOpen> {
        let bytes = self.open(sealed, identity)?;
        std::str::from_utf8(&bytes).map(|text| Zeroizing::new(String::from(text))).map_err(|_| CannotOpen)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_its_key_for_its_record_only() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = key.seal(b"hush", "secret/a", [9; 12]);
        assert_eq!(&**key.open(&sealed, "secret/a").unwrap(), b"hush");
        assert_eq!(key.open_text(&sealed, "secret/a").unwrap().as_str(), "hush");
        assert_eq!(key.open(&sealed, "secret/b"), Err(CannotOpen));
        assert_eq!(SealingKey::from_bytes([2; 32]).open(&sealed, "secret/a"), Err(CannotOpen));
        let mut changed = sealed.clone();
        *changed.0.last_mut().unwrap() ^= 1;
        assert_eq!(key.open(&changed, "secret/a"), Err(CannotOpen));
        assert_eq!(key.open(&Sealed(vec![1, 2]), "secret/a"), Err(CannotOpen));
        let json = serde_json::to_string(&sealed).unwrap();
        assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed);
        assert!(!json.contains("hush") && !format!("{sealed:?}{key:?}").contains('1'));
    }

    /// Test case 14 of the specification of GCM: a block of zeros under a key and a nonce of zeros.
    #[test]
    fn it_is_aes_256_gcm() {
        let sealed = SealingKey::parse(&"0".repeat(64)).unwrap().seal(&[0; 16], "", [0; 12]);
        let text: String = sealed.0[NONCE_BYTES..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(SealingKey::parse(&"a".repeat(64)).is_some());
        for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            assert!(SealingKey::parse(wrong).is_none(), "{wrong}");
        }
    }
}
