//! Files of the host, and of other tasks.

use std::fs;

use super::ground::{Attack, End, Ground};
use crate::e2e::definitions::{guest, single};

/// What is in the host's file.
const SECRET: &str = "what only the host may read: 5f0c1d";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_a_file_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let mut ground = Ground::new().await;
    let attack = Attack { name: "read the host's files", image: "hostile", command: &[], end: End::Held };
    let command = ["walk", secret.to_str().unwrap(), SECRET];
    ground.attack_with(&attack, single("attacker", &guest("hostile"), &command)).await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was made beside the secret");
    ground.end().await;
}
