//! Places that other threads give back.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use super::*;

#[test]
fn places_are_handed_on_whatever_threads_give_them_back() {
    const WORKERS: usize = 8;
    const EACH: usize = 500;
    for balance in [crate::Balance::RoundRobin, crate::Balance::LeastConnections] {
        let settings = PoolSettings {
            balance,
            max_connections: Some(5),
            ..settings(1000)
        };
        let pool = pool(&[2, 2, 2], settings);
        let most = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let free = (!pool.has_waiting()).then(|| take(&pool)).flatten();
                        let taken = free.unwrap_or_else(|| wait_for(&pool));
                        let now = pool.upstream().connections() as usize;
                        most.fetch_max(now, SeqCst);
                        drop(taken);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 5);
        assert_eq!(pool.upstream().connections(), 0);
        assert!(!pool.has_waiting());
    }
}

/// Sleeps until there is a place.
fn wait_for(pool: &Arc<Pool>) -> Taken {
    struct Unpark(Thread, AtomicUsize);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, SeqCst);
            self.0.unpark();
        }
    }
    let wish = Wish {
        hash: 0,
        tried: Vec::new(),
    };
    let place = Place::join(pool, wish, None, origin()).expect("there is room");
    let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    loop {
        match place.poll(origin(), || Waker::from(unpark.clone())) {
            Polled::Answered(Answer::Granted(grant)) => return grant.taken,
            Polled::Answered(Answer::NoneUp) => panic!("all are up"),
            Polled::Waits(_) => {
                thread::park_timeout(PATIENCE);
                assert_ne!(unpark.1.swap(0, SeqCst), 0, "it is not woken");
            }
        }
    }
}

/// How long a wake may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
