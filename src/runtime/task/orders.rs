//! What a task was ordered to do with each of its containers.
//!
//! An order may come at any time, also before the images are there: it is kept until it can be carried out. Orders that
//! make no sense (start what runs, stop what does not) change nothing, so whoever gives them may repeat them.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One life of a container ends by these.
#[derive(Clone)]
pub struct Halt {
    /// Politely: the task's stop, or the container's own.
    pub stop: CancellationToken,
    /// At once.
    pub kill: CancellationToken,
}

impl Halt {
    pub async fn asked(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.kill.cancelled() => {}
        }
    }
}

pub struct Orders {
    /// In the order of the specification.
    containers: Mutex<Vec<Container>>,
    finished: CancellationToken,
    changed: Notify,
}

struct Container {
    name: String,
    state: State,
}

enum State {
    /// It does not run, and nobody wants it to.
    Idle,
    /// It starts as soon as it can.
    Wanted,
    /// It was told to stop before it could start, and whoever ordered it has not heard so yet.
    Refused,
    Living(CancellationToken),
}

impl Orders {
    /// For containers by name, each with whether it waits for its order.
    pub fn new<'a>(containers: impl Iterator<Item = (&'a str, bool)>) -> Orders {
        let container = |(name, waits): (&str, bool)| Container {
            name: name.to_owned(),
            state: if waits { State::Idle } else { State::Wanted },
        };
        Orders {
            containers: Mutex::new(containers.map(container).collect()),
            finished: CancellationToken::new(),
            changed: Notify::new(),
        }
    }

    pub fn start(&self, name: &str) {
        if let Some(container) = self.containers.lock().iter_mut().find(|known| known.name == name)
            && matches!(container.state, State::Idle)
        {
            container.state = State::Wanted;
        }
        self.changed.notify_one();
    }

    pub fn stop(&self, name: &str) {
        if let Some(container) = self.containers.lock().iter_mut().find(|known| known.name == name) {
            match &container.state {
                State::Idle | State::Refused => {}
                State::Wanted => container.state = State::Refused,
                State::Living(stop) => stop.cancel(),
            }
        }
        self.changed.notify_one();
    }

    pub fn finish(&self) {
        self.finished.cancel();
        self.changed.notify_one();
    }

    pub fn is_finished(&self) -> bool {
        self.finished.is_cancelled()
    }

    /// Something was ordered since this was last waited for.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Begins the life of a container that is wanted and does not live.
    pub fn begin(&self, number: usize, stop: &CancellationToken, kill: &CancellationToken) -> Option<Halt> {
        let mut containers = self.containers.lock();
        let container = containers.get_mut(number).filter(|container| matches!(container.state, State::Wanted))?;
        let own = stop.child_token();
        container.state = State::Living(own.clone());
        Some(Halt { stop: own, kill: kill.clone() })
    }

    /// True, once, where it was told to stop between the order to start and the start.
    pub fn take_refused(&self, number: usize) -> bool {
        let mut containers = self.containers.lock();
        let refused = containers.get_mut(number).filter(|container| matches!(container.state, State::Refused));
        refused.map(|container| container.state = State::Idle).is_some()
    }

    pub fn is_wanted(&self, number: usize) -> bool {
        self.containers
            .lock()
            .get(number)
            .is_some_and(|container| matches!(container.state, State::Wanted | State::Refused))
    }

    pub fn ended(&self, number: usize) {
        if let Some(container) = self.containers.lock().get_mut(number) {
            container.state = State::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_kept_and_may_be_repeated() {
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let orders = Orders::new([("at once", false), ("later", true)].into_iter());
        assert!(orders.begin(0, &stop, &kill).is_some() && orders.begin(0, &stop, &kill).is_none());
        assert!(orders.begin(1, &stop, &kill).is_none());
        orders.start("later");
        orders.start("later");
        orders.start("nobody");
        let halt = orders.begin(1, &stop, &kill).unwrap();
        orders.start("later");
        assert!(orders.begin(1, &stop, &kill).is_none(), "it lives");
        orders.stop("later");
        assert!(halt.stop.is_cancelled() && !stop.is_cancelled());
        orders.ended(1);
        orders.start("later");
        orders.stop("later");
        assert!(orders.begin(1, &stop, &kill).is_none(), "it was told to stop before it began");
        assert!(orders.take_refused(1) && !orders.take_refused(1));
    }

    #[test]
    fn a_task_that_stops_takes_every_life_with_it() {
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let orders = Orders::new([("one", false)].into_iter());
        let halt = orders.begin(0, &stop, &kill).unwrap();
        stop.cancel();
        assert!(halt.stop.is_cancelled() && !halt.kill.is_cancelled());
    }
}
