//! Waits for a server that was killed to be gone: the kernel takes down a process's memory before its files, which was
//! seen to last two seconds on a busy machine, and until then the port and the database are still held.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What is in use for longer is in use by somebody who lives.
const WAIT_MAX: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Tries again while what is wanted is in use.
pub async fn outlive<T, E: std::fmt::Display>(
    is_in_use: impl Fn(&E) -> bool,
    mut open: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let give_up = Instant::now() + WAIT_MAX;
    let mut said = false;
    loop {
        match open() {
            Err(error) if is_in_use(&error) && Instant::now() < give_up => {
                if !said {
                    tracing::info!(%error, "waiting for {} s, in case that a server is just ending", WAIT_MAX.as_secs());
                    said = true;
                }
                sleep(PAUSE).await;
            }
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_what_is_being_given_back_and_not_for_ever() {
        let mut left = 3;
        let opened = outlive(
            |error| *error == "in use",
            || {
                left -= 1;
                if left > 0 { Err("in use") } else { Ok("open") }
            },
        );
        assert_eq!(opened.await, Ok("open"));
        let begun = Instant::now();
        assert_eq!(outlive(|error| *error == "in use", || Err::<(), _>("in use")).await, Err("in use"));
        assert!(begun.elapsed() >= WAIT_MAX);
        let begun = Instant::now();
        assert_eq!(outlive(|error| *error == "in use", || Err::<(), _>("broken")).await, Err("broken"));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
