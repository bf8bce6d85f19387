//! The table at the end of a benchmark: what was measured against the bar that must hold and the goal, what misses first.

/// One line of DESIGN.md's "What it must cost".
pub struct Row {
    what: String,
    measured: String,
    bar: String,
    goal: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Misses,
    Holds,
    Reaches,
}

/// Which side of the bar is the good one.
#[derive(Clone, Copy)]
pub enum Wanted {
    AtLeast,
    AtMost,
}

impl Row {
    /// `limits` are the bar, where there is one, and the goal; `detail` says what the value is made of: extremes, counts,
    /// conditions.
    pub fn new(what: &str, wanted: Wanted, value: f64, unit: &str, limits: (Option<f64>, f64), detail: &str) -> Row {
        let (bar, goal) = limits;
        let holds = |limit: f64| match wanted {
            Wanted::AtLeast => value >= limit,
            Wanted::AtMost => value <= limit,
        };
        let verdict = match (bar.is_none_or(holds), holds(goal)) {
            (true, true) => Verdict::Reaches,
            (true, false) => Verdict::Holds,
            (false, _) => Verdict::Misses,
        };
        let sign = match wanted {
            Wanted::AtLeast => "≥",
            Wanted::AtMost => "≤",
        };
        Row {
            what: what.to_owned(),
            measured: format!("{} {unit} ({detail})", number(value)),
            bar: bar.map_or_else(|| String::from("none"), |bar| format!("{sign} {} {unit}", number(bar))),
            goal: format!("{sign} {} {unit}", number(goal)),
            verdict,
        }
    }
}

pub fn print(mut rows: Vec<Row>) {
    rows.sort_by_key(|row| row.verdict);
    println!("\n| what | measured | bar | goal | verdict |\n|---|---|---|---|---|");
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Misses => "MISSES THE BAR",
            Verdict::Holds => "holds, short of the goal",
            Verdict::Reaches => "reaches the goal",
        };
        println!("| {} | {} | {} | {} | {verdict} |", row.what, row.measured, row.bar, row.goal);
    }
}

/// As many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The value below which a share of all lies; the values are sorted here.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// `least–most`.
pub fn range(values: &mut [f64]) -> String {
    format!("{}–{}", number(percentile(values, 0.0)), number(percentile(values, 1.0)))
}
