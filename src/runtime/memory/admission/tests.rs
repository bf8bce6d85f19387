use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::ResourceLimiterAsync as _;

use super::*;
use crate::runtime::memory::{MemoryLimiter, NodeMeter, Slots};

const MIB: u64 = 1 << 20;

fn door(task_mib: u64, container_mib: u64) -> (MemoryMeter, Admission) {
    let task = MemoryMeter::task(Some(task_mib * MIB), &NodeMeter::default());
    let admission = Admission::new(task.container(Some(container_mib * MIB)));
    // As after its first request.
    admission.inner.is_warm.store(true, Ordering::Relaxed);
    (task, admission)
}

fn limiter(door: &Admission, admitted: Reservation) -> MemoryLimiter {
    MemoryLimiter::new(door.inner.meter.clone(), Slots::LARGEST, Some(admitted))
}

async fn grow(limiter: &mut MemoryLimiter, mib: u64) -> wasmtime::Result<bool> {
    let (from, to) = (limiter.used() as usize, (limiter.used() + mib * MIB) as usize);
    limiter.memory_growing(from, to, None).await
}

#[tokio::test(start_paused = true)]
async fn the_first_request_of_all_goes_alone_until_it_has_shown_its_size() {
    let task = MemoryMeter::task(Some(100 * MIB), &NodeMeter::default());
    let door = Admission::new(task.container(None));
    let start = Instant::now();
    let mut first = limiter(&door, door.admit().await.unwrap());
    grow(&mut first, 60).await.unwrap();
    // There would be room by the guess, but by now it is known better.
    let second = tokio::spawn({
        let door = door.clone();
        async move { door.admit().await.map(|admitted| admitted.bytes()) }
    });
    tokio::time::sleep(COLD_TIME * 2).await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap().unwrap(), 60 * MIB);

    // One that stays small does not keep the others out for longer.
    let door = Admission::new(task.container(None));
    let _first = door.admit().await.unwrap();
    let _second = door.admit().await.unwrap();
    assert_eq!(start.elapsed(), COLD_TIME * 3);
}

#[tokio::test(start_paused = true)]
async fn who_grows_into_what_others_hold_waits_inside_and_nobody_is_let_in() {
    let (task, door) = door(100, 100);
    let mut first = limiter(&door, door.admit().await.unwrap());
    let mut second = limiter(&door, door.admit().await.unwrap());
    grow(&mut first, 70).await.unwrap();
    let growing = tokio::spawn(async move {
        let grown = grow(&mut second, 50).await;
        (grown.map_err(|error| error.to_string()), second)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(door.is_crowded() && !growing.is_finished());
    assert!(poll_once(door.admit()).is_none());
    drop(first);
    let (grown, second) = growing.await.unwrap();
    assert_eq!((grown, second.used(), door.is_crowded()), (Ok(true), 50 * MIB, false));
    drop(second);
    assert_eq!(task.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_all_wait_the_youngest_gives_way_and_the_rest_go_on() {
    let (task, door) = door(100, 100);
    let mut growing = Vec::new();
    for _ in 0..3 {
        let mut one = limiter(&door, door.admit().await.unwrap());
        grow(&mut one, 30).await.unwrap();
        growing.push(one);
    }
    let start = Instant::now();
    let runs = growing.into_iter().map(|mut one| {
        tokio::spawn(async move {
            // To be done with what it has, and only then.
            let grown = grow(&mut one, 35).await;
            drop(one);
            grown
        })
    });
    let ends: Vec<_> = futures_util::future::join_all(runs).await.into_iter().map(Result::unwrap).collect();
    let crowded = |end: &wasmtime::Result<bool>| end.as_ref().is_err_and(|error| error.is::<Crowded>());
    assert_eq!(ends.iter().map(crowded).collect::<Vec<_>>(), [false, false, true]);
    assert!(ends[0].is_ok() && ends[1].is_ok() && start.elapsed() < GROW_WAIT_MAX);
    assert_eq!((task.held(), door.is_crowded()), (0, false));
}

#[tokio::test(start_paused = true)]
async fn who_is_too_large_alone_ends_at_once_and_who_waits_for_neighbours_soon() {
    let (task, door) = door(100, 100);
    let start = Instant::now();
    let mut large = limiter(&door, door.admit().await.unwrap());
    assert!(grow(&mut large, 101).await.unwrap_err().is::<OutOfMemory>());
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(large);
    let neighbour = task.container(None);
    neighbour.reserve(90 * MIB).unwrap();
    let mut alone = limiter(&door, door.admit().await.unwrap());
    assert!(grow(&mut alone, 50).await.unwrap_err().is::<OutOfMemory>());
    assert!(start.elapsed() >= ALONE_WAIT && start.elapsed() < GROW_WAIT_MAX);
}

/// Polls once: `None` while it waits.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn admits_at_once_while_there_is_room_and_sets_it_aside() {
    let (task, door) = door(100, 5);
    let first = poll_once(door.admit()).unwrap().unwrap();
    let _second = poll_once(door.admit()).unwrap().unwrap();
    assert_eq!(task.held(), 4 * MIB);
    assert!(poll_once(door.admit()).is_none());
    // Who no longer waits has left the line.
    assert_eq!(door.waiting(), 0);
    drop(first);
    assert!(poll_once(door.admit()).is_some());
}

#[tokio::test(start_paused = true)]
async fn waits_in_the_order_of_arrival_and_is_woken_by_what_becomes_free() {
    let (_, door) = door(2, 100);
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let held = door.admit().await.unwrap();
    for n in 0..5 {
        let (line, done) = (door.clone(), done.clone());
        tokio::spawn(async move {
            let reservation = line.admit().await.unwrap();
            done.send(n).unwrap();
            drop(reservation);
        });
        while door.waiting() <= n {
            tokio::task::yield_now().await;
        }
    }
    assert!(finished.try_recv().is_err());
    drop(held);
    for n in 0..5 {
        assert_eq!(finished.recv().await, Some(n));
    }
    assert_eq!(door.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_line_and_the_wait_are_bounded() {
    let (_, door) = door(2, 2);
    let held = door.admit().await.unwrap();
    let waiting: Vec<_> = (0..WAITING_MAX)
        .map(|_| {
            let door = door.clone();
            tokio::spawn(async move { door.admit().await.map(drop) })
        })
        .collect();
    while door.waiting() < WAITING_MAX {
        tokio::task::yield_now().await;
    }
    assert_eq!(door.admit().await.unwrap_err(), AdmissionError::QueueFull { waiting: WAITING_MAX });
    for task in waiting {
        assert!(matches!(task.await.unwrap(), Err(AdmissionError::TimedOut { waited: WAIT_MAX, .. })));
    }
    drop(held);
    assert!(door.admit().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn learns_quickly_that_more_is_needed_and_slowly_that_it_is_not() {
    let (_, door) = door(1000, 1000);
    door.admit().await.unwrap().observe(64 * MIB);
    assert_eq!(door.expected(), 64 * MIB);
    door.admit().await.unwrap().observe(MIB);
    assert_eq!(door.expected(), 64 * MIB - 63 * MIB / 16);
    for _ in 0..1000 {
        door.admit().await.unwrap().observe(MIB);
    }
    assert_eq!(door.expected(), MIB);
}

#[tokio::test(start_paused = true)]
async fn an_instance_uses_up_what_was_set_aside_and_then_more() {
    let (task, door) = door(100, 100);
    let admitted = door.admit().await.unwrap();
    let mut limiter = MemoryLimiter::new(door.inner.meter.clone(), Slots::LARGEST, Some(admitted));
    limiter.charge_host(MIB).unwrap();
    assert_eq!(task.held(), 2 * MIB);
    limiter.charge_host(4 * MIB).unwrap();
    assert_eq!(task.held(), 5 * MIB);
    limiter.release_host(4 * MIB);
    assert_eq!(task.held(), 2 * MIB);
    drop(limiter);
    assert_eq!((task.held(), door.expected()), (0, 5 * MIB));
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_instance_asked_for_is_learned_but_no_more_than_the_limit() {
    let (task, door) = door(100, 10);
    let admitted = door.admit().await.unwrap();
    let mut limiter = MemoryLimiter::new(door.inner.meter.clone(), Slots::LARGEST, Some(admitted));
    limiter.charge_host(50 * MIB).unwrap_err();
    drop(limiter);
    assert_eq!((task.held(), door.expected()), (0, 10 * MIB));
}

#[tokio::test(start_paused = true)]
async fn neighbours_in_the_task_are_waited_for_and_tried_beside_when_they_stay() {
    let (task, door) = door(10, 10);
    let neighbour = task.container(None);
    neighbour.reserve(9 * MIB).unwrap();
    let start = tokio::time::Instant::now();
    let alone = door.admit().await.unwrap();
    assert_eq!((alone.bytes(), start.elapsed()), (MIB, ALONE_WAIT));
    // A second one is not alone.
    assert!(matches!(door.admit().await, Err(AdmissionError::TimedOut { .. })));
    let waits = tokio::spawn({
        let door = door.clone();
        async move { door.admit().await.unwrap().bytes() }
    });
    tokio::task::yield_now().await;
    neighbour.release(9 * MIB);
    assert_eq!(waits.await.unwrap(), 2 * MIB);
}

#[test]
fn threads_that_come_and_go_all_get_in_and_leave_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let (task, door) = door(7, 100);
    runtime.block_on(async {
        let guests: Vec<_> = (0..64)
            .map(|_| {
                let door = door.clone();
                tokio::spawn(async move {
                    for _ in 0..50 {
                        let reservation = door.admit().await.unwrap();
                        tokio::task::yield_now().await;
                        drop(reservation);
                    }
                })
            })
            .collect();
        for guest in guests {
            guest.await.unwrap();
        }
    });
    assert_eq!((task.held(), door.waiting(), door.inner.running.load(Ordering::Relaxed)), (0, 0, 0));
    assert!(task.peak() <= 7 * MIB);
}
