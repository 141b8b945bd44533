//! `max_connections` rejects what is beyond it, and only as long as it is.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::config::forward_with;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(max_connections);

fn echoes(client: &mut TcpStream) -> bool {
    client.write_all(b"?").is_ok() && client.read(&mut [0; 1]).is_ok_and(|size| size == 1)
}

fn max_connections(scheduler: Scheduler) {
    let echo = peer::echo();
    let servers = [echo.address().to_string()];
    let proxy = Proxy::start(
        scheduler,
        &forward_with(&[&servers[0]], "max_connections = 4", ""),
    );
    let mut admitted: Vec<_> = (0..4).map(|_| proxy.connect("main")).collect();
    assert!(admitted.iter_mut().all(echoes), "within the limit");

    for _ in 0..3 {
        assert!(
            !echoes(&mut proxy.connect("main")),
            "a fifth connection is served"
        );
    }
    let rejected = [("listener", "main"), ("reason", "max_connections")];
    wait::until("3 rejections are counted", || {
        proxy.metric("corelane_listener_rejected_total", &rejected) == 3.0
    });
    assert!(
        admitted.iter_mut().all(echoes),
        "the admitted ones are left alone"
    );

    admitted.pop();
    wait::until("room for another", || echoes(&mut proxy.connect("main")));
}
