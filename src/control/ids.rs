//! Fresh ids for what the loops create, from a source of randomness that is given.

use std::sync::Arc;

use crate::model::TaskId;

/// Draws 128 random bits. In tests it counts from a seed.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> u128 + Send + Sync>);

impl Ids {
    pub fn new(draw: impl Fn() -> u128 + Send + Sync + 'static) -> Ids {
        Ids(Arc::new(draw))
    }

    pub fn bits(&self) -> u128 {
        (self.0)()
    }

    pub fn task(&self) -> TaskId {
        TaskId(self.bits())
    }

    /// A random UUID (version 4), as of a container or an event.
    pub fn uuid(&self) -> String {
        let bits = self.bits() & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// 17 hexadecimal digits, as after `eni-`.
    pub fn eni(&self) -> String {
        format!("eni-0{:016x}", self.bits() >> 64)
    }

    /// A locally administered address of a network interface.
    pub fn mac(&self) -> String {
        let bytes = self.bits().to_be_bytes();
        format!("0a:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4])
    }
}
