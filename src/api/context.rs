//! What an operation may know besides the state: who calls, where, when, and fresh ids.
//!
//! Operations are functions of this and of a view. Nothing below reads a clock or a generator, so a test that makes a
//! context decides everything, and an operation that is run again after a conflict sees the same time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::identity::SealingKey;
use crate::model::{NodeConfig, Scope, Timestamp};

/// The surroundings of one call.
#[derive(Debug)]
pub struct Context {
    /// The account and region that the call is about.
    pub scope: Scope,
    pub now: Timestamp,
    pub ids: IdSource,
    pub config: Arc<NodeConfig>,
    pub caller: Caller,
    /// Seals secrets before the view sees them, and opens them for whoever asks.
    pub sealing: Arc<SealingKey>,
    /// Members of the request that the model does not know. AWS ignores them, and so do we, but say so.
    pub ignored_members: Vec<String>,
    pub without_effect: WithoutEffect,
}

#[cfg(test)]
impl Context {
    /// A context in which a test decides everything: account 123456789012, us-east-1, unsigned, ids from a fixed seed.
    pub fn scripted(now: Timestamp) -> Context {
        let config = scripted_config();
        Context {
            scope: Scope { account: config.account.clone(), region: config.default_region.clone() },
            now,
            ids: IdSource::from_seed(1),
            config: Arc::new(config),
            caller: Caller::default(),
            sealing: Arc::new(SealingKey::from_bytes([7; 32])),
            ignored_members: Vec::new(),
            without_effect: WithoutEffect::default(),
        }
    }
}

/// The configuration of a node in a test.
#[cfg(test)]
pub fn scripted_config() -> NodeConfig {
    NodeConfig {
        account: "123456789012".parse().unwrap(),
        default_region: "us-east-1".parse().unwrap(),
        node: crate::model::NodeId(1),
        boot: crate::model::BootId(2),
        port: 4566,
        cores: 2,
        memory_bytes: 1 << 30,
        has_object_directory: false,
        any_file_image: true,
    }
}

/// What an operation was asked for and has kept, but that changes nothing in this version: it is said, so that nobody
/// waits for it. Behind a lock, because an operation has its context by reference.
#[derive(Debug, Default)]
pub struct WithoutEffect(Mutex<Vec<String>>);

impl WithoutEffect {
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().push(what.into());
    }

    /// Forgets what an attempt noted that was not committed.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    pub fn noted(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    /// The access key that signed the request; absent where it was not signed.
    pub access_key_id: Option<String>,
}

/// Fresh ids from randomness that was drawn once for the call: the hash of a seed and a counter. From a given seed the
/// ids are always the same.
pub struct IdSource {
    seed: [u8; 32],
    taken: AtomicU64,
}

impl IdSource {
    pub fn from_seed(seed: u64) -> IdSource {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        IdSource { seed: bytes, taken: AtomicU64::new(0) }
    }

    /// From randomness of the operating system.
    pub fn random() -> Result<IdSource, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(IdSource { seed, taken: AtomicU64::new(0) })
    }

    /// 128 fresh bits, as of a task.
    pub fn bits(&self) -> u128 {
        let count = self.taken.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::new().chain_update(self.seed).chain_update(count.to_le_bytes()).finalize();
        digest.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    }

    /// 96 fresh bits, as a sealed value needs them.
    pub fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.bits().to_be_bytes()[..12]);
        nonce
    }

    /// 32 hexadecimal digits, as of a task.
    pub fn hex32(&self) -> String {
        format!("{:032x}", self.bits())
    }

    /// 16 hexadecimal digits, as of a load balancer.
    pub fn hex16(&self) -> String {
        format!("{:016x}", self.bits() >> 64)
    }

    /// 19 decimal digits, as of a deployment (`ecs-svc/…`).
    pub fn digits19(&self) -> String {
        const FIRST: u128 = 1_000_000_000_000_000_000;
        format!("{}", FIRST + self.bits() % (9 * FIRST))
    }

    /// A random UUID (version 4), as of a request or an event.
    pub fn uuid(&self) -> String {
        let bits = self.bits() & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for IdSource {
    /// Without the seed: whoever reads it could tell the ids to come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdSource").field("taken", &self.taken).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (one, other) = (IdSource::from_seed(7), IdSource::from_seed(7));
        assert_eq!(one.bits(), other.bits());
        assert_eq!(one.uuid(), other.uuid());
        assert_ne!(one.bits(), one.bits());
        assert_ne!(IdSource::from_seed(8).bits(), IdSource::from_seed(7).bits());
    }

    #[test]
    fn ids_have_their_forms() {
        let ids = IdSource::from_seed(1);
        for _ in 0..100 {
            assert_eq!(ids.hex32().len(), 32);
            assert_eq!(ids.hex16().len(), 16);
            assert_eq!(ids.digits19().len(), 19);
            let uuid = ids.uuid();
            assert_eq!(uuid.len(), 36);
            assert_eq!(&uuid[14..15], "4");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }

    #[test]
    fn debug_does_not_show_the_seed() {
        let mut seeded = IdSource::from_seed(0);
        seeded.seed = [0xab; 32];
        assert!(!format!("{seeded:?}").contains("171"));
    }
}
