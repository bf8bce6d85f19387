//! Output without end.

use super::ground::{Attack, End, Ground};

const ATTACKS: &[Attack] = &[
    Attack {
        name: "lines on both streams as fast as it can",
        image: "hostile",
        command: &["flood", "2"],
        end: End::Stopped(0, ""),
    },
    Attack {
        name: "one line of 100 MB without an end",
        image: "hostile",
        command: &["line", "100000000"],
        end: End::Stopped(0, ""),
    },
    Attack { name: "a million lines", image: "hog", command: &["lines", "1000000"], end: End::Stopped(0, "") },
    Attack { name: "reading somebody's input", image: "hostile", command: &["stdin"], end: End::Held },
];

/// What is kept of them is bounded, which the end of the ground measures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_without_end() {
    let mut ground = Ground::new().await;
    for attack in ATTACKS {
        ground.attack(attack).await;
    }
    ground.end().await;
}
