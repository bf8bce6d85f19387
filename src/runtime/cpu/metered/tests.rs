use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const MS: u64 = 1_000_000;

/// One thread's CPU time is all the time that passes.
#[derive(Default)]
struct TestClock {
    now_ns: AtomicU64,
    thread_cpu_ns: AtomicU64,
}

impl Clock for TestClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn thread_cpu_ns(&self) -> u64 {
        self.thread_cpu_ns.load(Ordering::SeqCst)
    }
}

impl TestClock {
    fn burn(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::SeqCst);
        self.thread_cpu_ns.fetch_add(ns, Ordering::SeqCst);
    }

    fn sleep(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::SeqCst);
    }
}

fn node(cores: u32) -> (CpuScheduler, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    (CpuScheduler::with_clock(cores, clock.clone()), clock)
}

/// A guest that burns a millisecond in each of so many polls, and yields as wasmtime does when fuel runs out.
async fn spin(clock: Arc<TestClock>, polls: u64) {
    let mut left = polls;
    poll_fn(|cx| {
        clock.burn(MS);
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn charges_what_the_polls_cost_and_waiting_costs_nothing() {
    let (node, clock) = node(1);
    let task = node.task(1024, false);
    let container = task.container(2);
    let guest = container.meter({
        let clock = clock.clone();
        async move {
            spin(clock.clone(), 3).await;
            clock.sleep(1000 * MS);
            7
        }
    });
    assert_eq!(runtime().block_on(guest), 7);
    assert_eq!(task.usage(), CpuUsage { charged_ns: 3 * MS, polls: 3, ..CpuUsage::default() });
    assert_eq!((container.usage(), node.permits_used()), (task.usage(), 0));
}

#[test]
fn guests_on_one_thread_get_what_their_weights_say_and_not_what_the_executor_would_do() {
    let (node, clock) = node(1);
    let tasks = [1024, 2048].map(|units| node.task(units, false));
    runtime().block_on(async {
        for task in &tasks {
            tokio::spawn(task.container(2).meter(spin(clock.clone(), 10_000)));
        }
        while clock.now_ns() < 3_000 * MS {
            tokio::task::yield_now().await;
        }
    });
    let [one, two] = tasks.map(|task| task.usage().charged_ns as f64);
    assert!((two / one - 2.0).abs() < 0.01, "{one} {two}");
}

#[test]
fn a_capped_guest_goes_on_when_the_clock_says_so() {
    let (node, clock) = node(2);
    let task = node.task(256, true);
    runtime().block_on(async {
        let guest = tokio::spawn(task.container(2).meter(spin(clock.clone(), 100)));
        while !guest.is_finished() {
            match node.tick() {
                // Nobody runs until then: jump there.
                Some(at_ns) => clock.sleep(at_ns.saturating_sub(clock.now_ns())),
                None => tokio::task::yield_now().await,
            }
        }
    });
    // 100 ms at a quarter of a core, less the burst of 2.5 ms.
    let wall_ms = clock.now_ns() / MS;
    assert!((385..=400).contains(&wall_ms), "{wall_ms}");
    let usage = task.usage();
    assert_eq!(usage.charged_ns, 100 * MS);
    assert!(usage.throttled_ns > 280 * MS && usage.throttled_ns < 300 * MS, "{usage:?}");
}

#[test]
fn the_real_timer_lets_throttled_guests_go_on() {
    let runtime = runtime();
    let node = CpuScheduler::new(1, runtime.handle());
    let task = node.task(512, true);
    let burn = || {
        let clock = SystemClock::new();
        let until_ns = clock.thread_cpu_ns() + 6 * MS;
        while clock.thread_cpu_ns() < until_ns {
            std::hint::spin_loop();
        }
    };
    // Two polls of 6 ms with a bucket of 5: it ends only if something wakes it.
    runtime.block_on(task.container(2).meter(async {
        burn();
        tokio::task::yield_now().await;
        burn();
    }));
    let usage = task.usage();
    assert!(usage.charged_ns >= 12 * MS && usage.throttled_times >= 1 && usage.throttled_ns > 0, "{usage:?}");
}

#[test]
fn a_poll_that_the_guest_did_not_ask_for_does_not_reach_it() {
    let (node, clock) = node(1);
    let task = node.task(1024, false);
    let mut guest = task.container(2).meter(async {
        clock.burn(MS);
        std::future::pending::<()>().await;
    });
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10 {
        assert!(Pin::new(&mut guest).poll(&mut cx).is_pending());
    }
    assert_eq!(task.usage().polls, 1);
}

#[test]
fn a_guest_that_is_dropped_with_a_permit_or_in_the_queue_leaves_nothing_behind() {
    let (node, clock) = node(1);
    let task = node.task(1024, false);
    let container = task.container(2);
    let mut cx = Context::from_waker(Waker::noop());
    // It yields, so that it is offered the permit again at once.
    let mut offered = container.meter(spin(clock.clone(), 5));
    let mut queued = container.meter(spin(clock.clone(), 5));
    assert!(Pin::new(&mut offered).poll(&mut cx).is_pending());
    assert!(Pin::new(&mut queued).poll(&mut cx).is_pending());
    assert_eq!((node.permits_used(), task.usage().polls), (1, 1));
    drop(queued);
    drop(offered);
    assert_eq!(node.permits_used(), 0);
    let never_polled = container.meter(async {});
    drop((never_polled, container, task));
    assert_eq!(node.shared.queue.lock().scheduler.registered(), (0, 0, 0));
}

#[test]
fn a_guest_that_panics_gives_its_permit_back() {
    let (node, _) = node(1);
    let task = node.task(1024, false);
    let guest = task.container(2).meter(async { panic!("a bug of the host") });
    runtime().block_on(async { assert!(tokio::spawn(guest).await.unwrap_err().is_panic()) });
    assert_eq!(node.permits_used(), 0);
}

#[test]
fn a_guest_moves_from_one_threads_runtime_to_anothers() {
    let (node, clock) = node(1);
    let task = node.task(1024, false);
    let (send, receive) = tokio::sync::oneshot::channel::<u8>();
    let mut guest = task.container(2).meter({
        let clock = clock.clone();
        async move {
            clock.burn(MS);
            let received = receive.await.unwrap();
            spin(clock, 3).await;
            received
        }
    });
    // It registers its waker here…
    runtime().block_on(poll_fn(|cx| {
        assert!(Pin::new(&mut guest).poll(cx).is_pending());
        Poll::Ready(())
    }));
    // …and is woken there.
    let other = std::thread::spawn(move || runtime().block_on(guest));
    send.send(5).unwrap();
    assert_eq!(other.join().unwrap(), 5);
    assert_eq!((task.usage().polls, node.permits_used()), (4, 0));
}

#[test]
fn threads_that_contend_lose_no_wake_and_no_permit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let node = CpuScheduler::with_clock(2, Arc::new(SystemClock::new()));
    let tasks: Vec<_> = (1..=16).map(|n| node.task(128 * n, false)).collect();
    runtime.block_on(async {
        let guests: Vec<_> = tasks
            .iter()
            .flat_map(|task| {
                let container = task.container(2);
                (0..4).map(move |_| {
                    container.meter(async {
                        for _ in 0..200 {
                            tokio::task::yield_now().await;
                        }
                    })
                })
            })
            .map(tokio::spawn)
            .collect();
        for guest in guests {
            guest.await.unwrap();
        }
    });
    assert_eq!(node.permits_used(), 0);
    assert_eq!(tasks.iter().map(|task| task.usage().polls).sum::<u64>(), 16 * 4 * 201);
}

#[test]
fn the_timer_ends_with_the_last_handle() {
    let runtime = runtime();
    let node = CpuScheduler::new(1, runtime.handle());
    let clone = node.clone();
    drop(node);
    drop(clone);
    runtime.block_on(async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn on_a_guests_thread_one_guest_goes_on_in_place_until_another_wants_to() {
    let (node, clock) = node(1);
    let task = node.task(1024, false);
    let (container, shared) = (task.container(2), clock.clone());
    // A thread of its own, because it stays one for guests.
    std::thread::spawn(move || {
        this_thread_is_for_guests();
        let mut cx = Context::from_waker(Waker::noop());
        let mut alone = container.meter(yielding(shared.clone(), MS / 4));
        assert!(Pin::new(&mut alone).poll(&mut cx).is_pending());
        // Four slices of a quarter of a millisecond.
        assert_eq!(container.usage().polls, 4);
        let mut other = container.meter(yielding(shared.clone(), MS / 4));
        assert!(Pin::new(&mut other).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut alone).poll(&mut cx).is_pending());
        assert_eq!(container.usage().polls, 5);
    })
    .join()
    .unwrap();
}

/// Works for so long, and yields as wasmtime does, for ever.
async fn yielding(clock: Arc<TestClock>, ns: u64) {
    poll_fn(|cx| {
        clock.burn(ns);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await;
}
