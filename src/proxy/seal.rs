//! Seals what a cookie says, so that a client can neither read nor make it.
//!
//! The key is made of the load balancer's ARN and the moment of its creation: stickiness so survives a restart, and goes
//! when a load balancer is made anew under its old name. Neither is told to clients of the load balancer; who may read
//! them over the API may choose any target without a cookie, so this guards against clients, not against operators.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

use crate::model::LoadBalancer;

const NONCE_BYTES: usize = 12;

/// The longest cookie that is opened: many times what we make.
const TEXT_BYTES_MAX: usize = 1024;

/// The key of one load balancer.
pub struct Seal {
    cipher: Aes256Gcm,
}

impl Seal {
    pub fn of(load_balancer: &LoadBalancer) -> Seal {
        let mut hash = Sha256::new();
        hash.update(b"coracle: cookies of a load balancer\0");
        hash.update(load_balancer.arn().as_str());
        hash.update(load_balancer.created_at.0.to_be_bytes());
        Seal { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(<[u8; 32]>::from(hash.finalize()))) }
    }

    /// Only what was sealed for the same `purpose`, such as the cookie's name, opens again. `None` without randomness.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload { msg: content, aad: purpose.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).ok()?;
        Some(STANDARD_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    pub fn open(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::testing;

    #[test]
    fn only_the_same_load_balancer_opens_it_for_the_same_purpose() {
        let web = testing::load_balancer("web");
        let sealed = Seal::of(&web).seal("A", b"content").unwrap();
        // A second key is that of the process after a restart.
        assert_eq!(Seal::of(&web).open("A", &sealed).unwrap(), b"content");
        assert_eq!(Seal::of(&web).open("B", &sealed), None);
        assert_eq!(Seal::of(&testing::load_balancer("other")).open("A", &sealed), None);
        assert_ne!(Seal::of(&web).seal("A", b"content").unwrap(), sealed);
    }

    #[test]
    fn what_was_touched_does_not_open() {
        let seal = Seal::of(&testing::load_balancer("web"));
        let sealed = seal.seal("A", b"content").unwrap();
        for place in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal.open("A", std::str::from_utf8(&bytes).unwrap()), None);
        }
        assert_eq!(seal.open("A", ""), None);
        assert_eq!(seal.open("A", "AAAA"), None);
        assert_eq!(seal.open("A", &"A".repeat(5000)), None);
    }
}
