//! Sizes of tasks as people write them (`256`, `.25 vCPU`, `1GB`), and the table of Fargate.
//!
//! Source: the API reference of RegisterTaskDefinition ("Task CPU and memory"), `cpu` and `memory`.

use std::ops::RangeInclusive;

/// CPU units in one core.
pub const UNITS_PER_CORE: u32 = 1024;
/// MiB in what ECS calls a GB.
const MIB_PER_GB: f64 = 1024.0;
/// What EC2 and EXTERNAL tasks may ask for, in CPU units.
pub const CPU_UNITS: RangeInclusive<u32> = 128..=196_608;

/// Reads a task's `cpu`: units, or `N vCPU` in any case and spacing. `None` where it is neither.
pub fn cpu_units(text: &str) -> Option<u32> {
    quantity(text, "vcpu", f64::from(UNITS_PER_CORE))
}

/// Reads a task's `memory`: MiB, or `N GB` in any case and spacing. `None` where it is neither.
pub fn memory_mib(text: &str) -> Option<u32> {
    quantity(text, "gb", MIB_PER_GB)
}

fn quantity(text: &str, unit: &str, factor: f64) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let value = match text.strip_suffix(unit) {
        Some(number) => number.trim().parse::<f64>().ok().filter(|n| n.is_finite())? * factor,
        None => f64::from(text.parse::<u32>().ok()?),
    };
    (value >= 0.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0).then_some(value as u32)
}

/// The memory sizes, in MiB, that Fargate offers with these CPU units; `None` where it does not offer the units.
pub fn fargate_memory_mib(cpu_units: u32) -> Option<Vec<u32>> {
    let gib = |range: RangeInclusive<u32>, step: usize| range.step_by(step).map(|gb| gb * 1024).collect();
    Some(match cpu_units {
        256 => vec![512, 1024, 2048],
        512 => gib(1..=4, 1),
        1024 => gib(2..=8, 1),
        2048 => gib(4..=16, 1),
        4096 => gib(8..=30, 1),
        8192 => gib(16..=60, 4),
        16384 => gib(32..=120, 8),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, units) in [
            ("256", Some(256)),
            (".25 vCPU", Some(256)),
            ("1vcpu", Some(1024)),
            ("2 VCPU", Some(2048)),
            ("x", None),
            ("-1", None),
            ("0.3333 vcpu", None),
            ("NaN vcpu", None),
        ] {
            assert_eq!(cpu_units(text), units, "{text}");
        }
        for (text, mib) in [("512", Some(512)), ("1GB", Some(1024)), ("0.5 gb", Some(512)), ("1 MB", None), ("", None)]
        {
            assert_eq!(memory_mib(text), mib, "{text}");
        }
    }

    #[test]
    fn knows_fargates_table() {
        assert_eq!(fargate_memory_mib(256), Some(vec![512, 1024, 2048]));
        assert_eq!(fargate_memory_mib(4096).unwrap().last(), Some(&30720));
        assert_eq!(fargate_memory_mib(8192).unwrap()[1], 20480);
        assert_eq!(fargate_memory_mib(16384).unwrap().last(), Some(&122_880));
        assert_eq!(fargate_memory_mib(300), None);
    }
}
