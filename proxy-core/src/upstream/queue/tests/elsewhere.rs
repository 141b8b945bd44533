//! Those who wait are served by an upstream that stands in, as soon as it can.

use super::*;

/// A pool with a place, in whose line as many wait as like, and one that stands in, with so many places.
fn pools(stands_in: u64, queue: Option<QueueSettings>) -> [Arc<Pool>; 2] {
    let other = pool(
        &[stands_in],
        PoolSettings {
            queue,
            ..settings(0)
        },
    );
    let own = pool(&[1], settings(100));
    let own = Arc::into_inner(own).expect("nobody else has it");
    [Arc::new(own.with_fallback(other.clone())), other]
}

#[test]
fn a_place_that_is_free_there_is_handed_to_the_first() {
    let [own, other] = pools(2, None);
    let (held, mut held_there) = (fill(&own), fill(&other));
    let all = [(); 4].map(|()| One::join(&own, &[]).expect("there is room"));
    assert!(all.iter().all(One::waits));
    let wakes = || all.each_ref().map(One::wakes);
    held_there.pop();
    assert_eq!(wakes(), [1, 0, 0, 0]);
    assert!(take(&other).is_none(), "it is the first one's already");
    drop(held);
    assert_eq!(wakes(), [1, 1, 0, 0]);
    held_there.pop();
    assert_eq!(wakes(), [1, 1, 1, 0]);
    let [first, second, third] = [0, 1, 2].map(|nth| all[nth].granted());
    assert!(Arc::ptr_eq(&first.pool, &other) && Arc::ptr_eq(&third.pool, &other));
    assert!(Arc::ptr_eq(&second.pool, &own));
    drop(first);
    assert_eq!(wakes(), [1, 1, 1, 1]);
    drop((second, third, all));
    assert_eq!(
        own.upstream().connections() + other.upstream().connections(),
        0
    );
    // Nobody is looked for any more.
    drop(fill(&other));
    assert!(own.upstream().longest_slot_wait() == Duration::from_secs(5));
}

#[test]
fn a_server_there_that_comes_up_serves() {
    let [own, other] = pools(1, None);
    other.server(0).set_up(false, origin());
    let _held = fill(&own);
    let one = One::join(&own, &[]).expect("there is room");
    assert!(one.waits());
    other.server(0).set_up(true, origin());
    // It is woken, and looks.
    assert_eq!(one.wakes(), 1);
    one.poll();
    assert!(Arc::ptr_eq(&one.granted().pool, &other));
}

#[test]
fn who_waits_there_comes_first() {
    let queue = QueueSettings {
        max: 9,
        timeout: Duration::from_secs(5),
    };
    let [own, other] = pools(1, Some(queue));
    let (_held, held_there) = (fill(&own), fill(&other));
    let guest = One::join(&own, &[]).expect("there is room");
    let host = One::join(&other, &[]).expect("there is room");
    assert!(guest.waits() && host.waits());
    drop(held_there);
    assert_eq!((guest.wakes(), host.wakes()), (0, 1));
    drop(host.granted());
    assert_eq!(guest.wakes(), 1);
    assert!(Arc::ptr_eq(&guest.granted().pool, &other));
}
