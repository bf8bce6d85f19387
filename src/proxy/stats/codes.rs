//! Statuses counted as CloudWatch has them: by class, and those of the load balancer's own that have a metric each.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// Responses by class.
#[derive(Default)]
pub struct Codes {
    /// At 2 those of 200 to 299, and so on; at 0 what has no class.
    classes: [AtomicU64; 6],
}

/// Responses of the load balancer itself.
#[derive(Default)]
pub struct OwnCodes {
    classes: Codes,
    /// 500, 502, 503 and 504.
    failures: [AtomicU64; 4],
}

/// `HTTPCode_Target_2XX_Count` and its like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeStats {
    pub of_2xx: u64,
    pub of_3xx: u64,
    pub of_4xx: u64,
    pub of_5xx: u64,
}

/// `HTTPCode_ELB_3XX_Count` and its like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnCodeStats {
    pub classes: CodeStats,
    pub of_500: u64,
    pub of_502: u64,
    pub of_503: u64,
    pub of_504: u64,
}

impl Codes {
    pub fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        self.classes[if class < self.classes.len() { class } else { 0 }].fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> CodeStats {
        let of = |class: usize| self.classes[class].load(Ordering::Relaxed);
        CodeStats { of_2xx: of(2), of_3xx: of(3), of_4xx: of(4), of_5xx: of(5) }
    }
}

impl OwnCodes {
    pub fn count(&self, status: StatusCode) {
        self.classes.count(status);
        let index = match status.as_u16() {
            500 => 0,
            502 => 1,
            503 => 2,
            504 => 3,
            _ => return,
        };
        self.failures[index].fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> OwnCodeStats {
        let of = |index: usize| self.failures[index].load(Ordering::Relaxed);
        OwnCodeStats { classes: self.classes.read(), of_500: of(0), of_502: of(1), of_503: of(2), of_504: of(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_codes_are_counted_by_class_and_by_number() {
        let codes = OwnCodes::default();
        for status in [301, 460, 464, 500, 502, 502, 503, 504, 561, 999] {
            codes.count(StatusCode::from_u16(status).unwrap());
        }
        let classes = CodeStats { of_2xx: 0, of_3xx: 1, of_4xx: 2, of_5xx: 6 };
        assert_eq!(codes.read(), OwnCodeStats { classes, of_500: 1, of_502: 2, of_503: 1, of_504: 1 });
    }
}
