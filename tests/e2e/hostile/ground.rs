//! Where attacks are made: a server, a neighbour, what was there before, and the table of what happened.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::reading::Reading;
use super::witness::Witness;
use crate::e2e::definitions::{Balanced, guest, handler, single};
use crate::e2e::http::{get, once};
use crate::e2e::server::Server;
use crate::e2e::wait::until;

/// What may stay resident after all attacks of a test: the pools keep the pages of warm slots (1 MiB of each, of the few
/// that were used), the allocator its arenas, the image cache its mapped code. One attack that is not given back is far
/// more.
const RESIDENT_SLACK_BYTES: u64 = 192 << 20;
/// Descriptors that each attack may leave: its image stays mapped, for the next start.
const IMAGE_DESCRIPTORS: u64 = 2;
/// Sockets that come and go beside the attacks: those of this test.
const SOCKET_SLACK: u64 = 16;
/// Threads that a runtime begins when they are needed first, and keeps for a while (file reads, name look-ups).
const THREAD_SLACK: u64 = 32;

/// One attack by a program.
pub struct Attack {
    pub name: &'static str,
    pub image: &'static str,
    pub command: &'static [&'static str],
    pub end: End,
}

/// What must become of it.
#[derive(Clone, Copy)]
pub enum End {
    /// It is ended with this code, and a reason that says so.
    Stopped(i64, &'static str),
    /// It never starts; the reason says why.
    Unstarted(&'static str),
    /// It gets nothing, says so, and ends well.
    Held,
    /// It may go on for ever; it is cut off when its task is stopped.
    Endless,
}

pub struct Ground {
    pub server: Server,
    pub neighbour: Balanced,
    witness: Witness,
    before: Reading,
    rows: Vec<[String; 3]>,
}

impl Ground {
    pub async fn new() -> Ground {
        Ground::of(Server::start().await).await
    }

    pub async fn of(server: Server) -> Ground {
        let neighbour = server.balanced(handler("neighbour", "hello"), 1).await;
        // Once, so that what the first request allocates is not taken for the attackers'.
        assert!(once(server.address, get(&neighbour.host, "/plain")).await.status.is_success());
        let before = Reading::of(&server).await;
        let witness = Witness::start(&server, &neighbour.host);
        Ground { server, neighbour, witness, before, rows: Vec::new() }
    }

    /// Runs an attack to its end.
    pub async fn attack(&mut self, attack: &Attack) {
        // A whole core, so that what uses up a limit is soon there; and no more memory than others.
        let mut definition = single("attacker", &guest(attack.image), attack.command);
        definition["cpu"] = json!("1024");
        definition["memory"] = json!("2048");
        definition["containerDefinitions"][0]["memory"] = json!(512);
        self.attack_with(attack, definition).await;
    }

    /// The same with a definition of the test's own.
    pub async fn attack_with(&mut self, attack: &Attack, definition: Value) {
        let arn = self.server.run(definition).await;
        self.finish(attack, &arn).await;
    }

    /// The same with a RunTask of the test's own.
    pub async fn attack_as(&mut self, attack: &Attack, input: Value) {
        let answer = self.server.ecs("RunTask", input).await;
        let arn = answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
        self.finish(attack, &arn).await;
    }

    async fn finish(&mut self, attack: &Attack, arn: &str) {
        if matches!(attack.end, End::Endless) {
            self.server.task_in(arn, "RUNNING").await;
            self.stop(arn).await;
        }
        let task = self.server.task_in(arn, "STOPPED").await;
        self.judge(attack, arn, &task).await;
        self.given_back(attack.name).await;
    }

    /// Starts attacks that never end, all at once, lets them run until the neighbour has answered `answers` more times,
    /// and stops them.
    pub async fn all_at_once(&mut self, attacks: &[Attack], answers: u64) {
        let mut arns = Vec::new();
        for attack in attacks {
            arns.push(self.server.run(single("attacker", &guest(attack.image), attack.command)).await);
        }
        for arn in &arns {
            self.server.task_in(arn, "RUNNING").await;
        }
        for _ in 0..answers {
            assert!(once(self.server.address, get(&self.neighbour.host, "/plain")).await.status.is_success());
        }
        for arn in &arns {
            self.stop(arn).await;
        }
        for (attack, arn) in attacks.iter().zip(&arns) {
            let task = self.server.task_in(arn, "STOPPED").await;
            self.judge(attack, arn, &task).await;
        }
        self.given_back("all at once").await;
    }

    /// Another task that behaves: what it holds is not the attackers'.
    pub async fn began_more(&mut self, arn: &str) {
        self.server.task_in(arn, "RUNNING").await;
        self.before = Reading::of(&self.server).await;
    }

    /// Stops a task while its image is being compiled, which would take long.
    pub async fn stopped_while_pulled(&mut self, name: &str, image: &str) {
        let arn = self.server.run(single("attacker", image, &[])).await;
        until("a compiler to run", async || {
            (Reading::of(&self.server).await.children > self.before.children).then_some(())
        })
        .await;
        for _ in 0..20 {
            assert!(once(self.server.address, get(&self.neighbour.host, "/plain")).await.status.is_success());
        }
        self.stop(&arn).await;
        let task = self.server.task_in(&arn, "STOPPED").await;
        assert!(task["containers"][0]["exitCode"].is_null(), "{name}: it ran: {task}");
        self.given_back(name).await;
        self.row(name, "its compiler was ended with it", task["stoppedReason"].as_str().unwrap());
    }

    pub async fn stop(&self, arn: &str) {
        self.server.ecs("StopTask", json!({"task": arn})).await;
    }

    async fn judge(&mut self, attack: &Attack, arn: &str, task: &Value) {
        let container = &task["containers"][0];
        let (code, reason) = (&container["exitCode"], container["reason"].as_str().unwrap_or_default());
        let name = attack.name;
        let (outcome, why) = match attack.end {
            End::Stopped(expected, word) => {
                assert_eq!(*code, expected, "{name}: {task}");
                assert!(reason.contains(word), "{name}: the reason should say {word:?}: {task}");
                assert_eq!(task["stopCode"], "EssentialContainerExited", "{name}");
                self.nothing_breached(name, arn).await;
                (format!("ended with {expected}"), reason.to_owned())
            }
            End::Unstarted(word) => {
                assert!(code.is_null(), "{name}: it ran: {task}");
                assert_eq!(task["stopCode"], "TaskFailedToStart", "{name}");
                assert!(reason.contains(word), "{name}: the reason should say {word:?}: {task}");
                (String::from("never started"), reason.to_owned())
            }
            End::Held => {
                let held = self.nothing_breached(name, arn).await;
                assert_eq!(*code, 0, "{name}: {task}");
                assert!(!held.is_empty(), "{name}: nothing was tried");
                (format!("{} attempts held", held.len()), held[0].clone())
            }
            End::Endless => {
                assert_eq!(*code, 137, "{name}: {task}");
                self.nothing_breached(name, arn).await;
                (String::from("cut off when stopped"), task["stoppedReason"].as_str().unwrap().to_owned())
            }
        };
        self.row(name, &outcome, &why);
    }

    /// What a guest says that it was kept from; it must not say that it was not.
    async fn nothing_breached(&self, name: &str, arn: &str) -> Vec<String> {
        let printed = self.server.printed(arn).await;
        let breaches: Vec<&String> = printed.iter().filter(|line| line.starts_with("BREACH")).collect();
        assert!(breaches.is_empty(), "{name}: {breaches:#?}");
        printed.iter().filter_map(|line| Some(line.strip_prefix("held ")?.to_owned())).collect()
    }

    pub fn row(&mut self, name: &str, outcome: &str, why: &str) {
        // Where the image lies is long, and nobody's business.
        let why = match (why.split_once("image '"), why.split_once("': ")) {
            (Some((kind, _)), Some((_, what))) => format!("{kind}{what}"),
            _ => why.to_owned(),
        };
        self.rows.push([name.to_owned(), outcome.to_owned(), why.chars().take(160).collect()]);
    }

    /// Waits until nothing of the attackers is left: instances, sockets, compilers. Only what waits for them can see it, so
    /// this is a condition and no measurement.
    pub async fn given_back(&self, name: &str) {
        let before = self.before;
        until(&format!("what {name} held to be given back"), async || {
            let now = Reading::of(&self.server).await;
            let is_back = now.instances <= before.instances
                && now.held_bytes <= before.held_bytes
                && now.sockets <= before.sockets + SOCKET_SLACK
                && now.children <= before.children;
            is_back.then_some(())
        })
        .await;
    }

    /// Everything is as it was, and nobody noticed: prints the table.
    pub async fn end(self) {
        let seen = self.witness.stop().await;
        assert!(seen.failures.is_empty(), "during the attacks: {seen:#?}");
        assert!(seen.answers > 0, "nobody was there to watch");
        let (before, attacks) = (self.before, self.rows.len() as u64);
        until("the server to be as it was before", async || {
            let now = Reading::of(&self.server).await;
            let is_back = now.resident_bytes <= before.resident_bytes + RESIDENT_SLACK_BYTES
                && now.descriptors <= before.descriptors + SOCKET_SLACK + attacks * IMAGE_DESCRIPTORS
                && now.threads <= before.threads + THREAD_SLACK;
            if !is_back {
                eprintln!("before {before:?}, now {now:?}");
            }
            is_back.then_some(())
        })
        .await;
        let log = self.server.log();
        assert!(!log.contains("panicked"), "the server panicked:\n{log}");
        let mut table = String::new();
        for [name, outcome, why] in &self.rows {
            let _ = writeln!(table, "| {name} | {outcome} | {why} |");
        }
        print!("{table}");
    }
}
