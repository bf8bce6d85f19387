//! The table from afar: a worker process asks that of its server, which alone knows who is where.
//!
//! A worker asks about its own task only; which task that is, its server knows from the connection. What a worker is
//! allowed does not depend on its honesty: it is told about others what their peers may know anyway.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::policy::{Denial, Verdict};
use super::{Address, Endpoint, Protocol, Published};

/// Publications of one task: every port of both protocols.
const PUBLISHED_MAX: usize = 2 * 65_536;

/// What a worker asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    Publish { port: u16, protocol: Protocol, endpoint: Endpoint },
    Withdraw { port: u16, protocol: Protocol },
    Endpoint { ip: Ipv4Addr, port: u16, protocol: Protocol },
    NameOf { real: SocketAddr, protocol: Protocol },
    MayConnect { to: SocketAddr, protocol: Protocol },
    MayEnter { port: u16, from: SocketAddr, protocol: Protocol },
    Remember { name: String, found: Vec<Ipv4Addr> },
}

/// What its server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    InUse,
    Endpoint(Option<Endpoint>),
    Name(Option<(Ipv4Addr, u16)>),
    May(Result<(), Denial>),
}

/// The way to the server. Asking waits for the answer, on the thread that asks: some 0.05 ms.
pub trait Server: Send + Sync {
    /// `None` where the server is gone. Then nothing is allowed.
    fn ask(&self, question: &Question) -> Option<Answer>;
}

/// The server's side: answers for one task, and holds what it published.
pub struct Answers {
    address: Address,
    published: HashMap<(u16, Protocol), Published>,
}

impl Answers {
    pub fn new(address: Address) -> Answers {
        Answers { address, published: HashMap::new() }
    }

    pub fn answer(&mut self, question: Question) -> Answer {
        let table = self.address.table();
        match question {
            Question::Publish { port, protocol, endpoint } => {
                // A task stands for no socket but its own.
                let is_own = endpoint.real.ip() == self.address.ip();
                if !is_own || self.published.len() >= PUBLISHED_MAX {
                    return Answer::InUse;
                }
                match table.publish(&self.address, port, protocol, endpoint) {
                    Ok(published) => {
                        self.published.insert((port, protocol), published);
                        Answer::Done
                    }
                    Err(_) => Answer::InUse,
                }
            }
            Question::Withdraw { port, protocol } => {
                self.published.remove(&(port, protocol));
                Answer::Done
            }
            Question::Endpoint { ip, port, protocol } => Answer::Endpoint(table.endpoint(ip, port, protocol)),
            Question::NameOf { real, protocol } => Answer::Name(table.name_of(real, protocol)),
            Question::MayConnect { to, protocol } => {
                Answer::May(match table.may_connect(&self.address, to, protocol) {
                    Verdict::Allowed => Ok(()),
                    Verdict::Denied(denial) => Err(denial),
                })
            }
            Question::MayEnter { port, from, protocol } => {
                let may = table.may_enter(&self.address, port, from, protocol);
                Answer::May(if may { Ok(()) } else { Err(Denial::Ingress) })
            }
            Question::Remember { name, found } => {
                self.address.remember(&name, &found);
                Answer::Done
            }
        }
    }
}
