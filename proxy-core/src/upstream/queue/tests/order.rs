//! Nobody is overtaken, and nobody sleeps beside a free place, whatever happens.

use proptest::prelude::*;

use super::*;

/// What happens to an upstream with a queue.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A connection comes, which may have tried a server.
    Come(Option<usize>),
    /// One of those that are served ends.
    End(usize),
    /// One of those that wait runs.
    Run(usize),
    /// One of those that wait goes.
    Go(usize),
    /// A server is up, or down.
    Up(usize, bool),
    /// The configuration has other limits.
    Limits([u64; 3]),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => prop::option::weighted(0.2, 0..3_usize).prop_map(Event::Come),
        6 => (0..20_usize).prop_map(Event::End),
        4 => (0..20_usize).prop_map(Event::Run),
        1 => (0..20_usize).prop_map(Event::Go),
        1 => (0..3_usize, any::<bool>()).prop_map(|(server, up)| Event::Up(server, up)),
        1 => prop::array::uniform3(1..4_u64).prop_map(Event::Limits),
    ]
}

proptest! {
    /// Whatever happens in whatever order: nobody that asks for the same is served before who came earlier, and nobody sleeps
    /// beside a free place.
    #[test]
    fn nobody_is_overtaken_and_nobody_sleeps_beside_a_free_place(
        limits in prop::array::uniform3(1..4_u64),
        all in 1..8_u64,
        events in prop::collection::vec(event(), 1..150),
    ) {
        struct Waiting { one: One, came: usize, fresh: bool, seen: usize }
        let settings = PoolSettings { max_connections: Some(all), ..settings(1000) };
        let mut pool = pool(&limits, settings);
        let mut served = Vec::new();
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut last_fresh = 0;
        let mut events = events.into_iter();
        let mut came = 0;
        loop {
            let event = match events.next() {
                Some(event) => event,
                // In the end all who were woken run.
                None => match waiting.iter().position(|one| one.one.wakes() > one.seen) {
                    Some(which) => Event::Run(which),
                    None => break,
                },
            };
            let len = waiting.len();
            let mut run = None;
            match event {
                Event::Come(tried) => {
                    came += 1;
                    let tried: Vec<_> = tried.into_iter().collect();
                    let taken = if pool.has_waiting() {
                        None
                    } else {
                        pool.take(&tried, Ask::Able, 7, origin()).ok()
                    };
                    match taken {
                        Some((_, taken)) => served.push(taken),
                        None => {
                            let one = One::join(&pool, &tried).expect("there is room");
                            let fresh = tried.is_empty();
                            waiting.push(Waiting { one, came, fresh, seen: 0 });
                            run = Some(len);
                        }
                    }
                }
                Event::End(which) if !served.is_empty() => {
                    drop(served.swap_remove(which % served.len()));
                }
                Event::Run(which) if len > 0 => run = Some(which % len),
                Event::Go(which) if len > 0 => drop(waiting.swap_remove(which % len)),
                Event::Up(server, up) => pool.server(server).set_up(up, origin()),
                Event::Limits(limits) => {
                    pool = reloaded(&pool, &limits);
                    pool.serve_waiting();
                }
                Event::End(_) | Event::Run(_) | Event::Go(_) => {}
            }
            if let Some(which) = run {
                waiting[which].seen = waiting[which].one.wakes();
                match waiting[which].one.poll() {
                    Polled::Waits(_) => {}
                    Polled::Answered(answer) => {
                        let one = waiting.swap_remove(which);
                        if let Answer::Granted(grant) = answer {
                            served.push(grant.taken);
                            // Who was handed a place before may run later: what counts is who still waits.
                            if one.fresh {
                                last_fresh = last_fresh.max(one.came);
                                let number = one.one.place.number();
                                let queue = &pool.upstream().common.queue;
                                let first = queue.with(|line, _| line.first_fresh());
                                prop_assert!(first.is_none_or(|first| number < first));
                            }
                        }
                    }
                }
            }
        }
        // None of those that wait could be served now.
        let up = (0..3).any(|place| pool.server(place).is_up());
        for one in &waiting {
            prop_assert!(one.one.waits());
            if one.fresh {
                let is_full = pool.upstream().connections() >= all;
                prop_assert!(up || is_full, "it waits for nobody");
                let wish = Wish { hash: 7, tried: Vec::new() };
                let free = pool.take_for(&wish, origin());
                prop_assert!(free.is_err(), "there is a place");
            }
        }
        drop(waiting);
        drop(served);
        prop_assert_eq!(pool.upstream().connections(), 0);
        prop_assert_eq!(pool.upstream().slot_queue(), 0);
    }
}
