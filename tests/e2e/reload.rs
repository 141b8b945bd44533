//! SIGHUP: shares change while connections run; anything else is refused, and what ran goes on.

use std::io::{Read, Write};

use crate::harness::config::route;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(shares_change, refusals_change_nothing);

fn configuration(shares: &str) -> String {
    route("main", "127.0.0.1:0", &["builtin:echo"], shares, "")
}

fn reloads(proxy: &Proxy) -> (f64, f64) {
    let metrics = proxy.metrics();
    let get = |name| metrics.get(name, &[]);
    (
        get("corelane_config_last_reload_success"),
        get("corelane_config_last_reload_timestamp_seconds"),
    )
}

fn echoes(mut stream: &std::net::TcpStream) {
    stream.write_all(b"still here").expect("send");
    stream.read_exact(&mut [0; 10]).expect("receive");
}

fn shares_change(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &configuration("shares = 900"));
    let client = proxy.connect("main");
    echoes(&client);
    let before = reloads(&proxy);
    proxy.reload(scheduler, &configuration("shares = 90"));
    wait::until("it is reloaded", || reloads(&proxy).1 > before.1);
    assert_eq!(reloads(&proxy).0, 1.0);
    if scheduler == Scheduler::Glommio {
        let shares = [("listener", "main")];
        let metrics = proxy.metrics();
        assert_eq!(
            metrics.get("corelane_glommio_task_queue_shares", &shares),
            90.0
        );
    }
    echoes(&client);
    proxy.stop();
}

fn refusals_change_nothing(scheduler: Scheduler) {
    let proxy = Proxy::start(scheduler, &configuration("shares = 900"));
    let client = proxy.connect("main");
    for refused in ["shares = 0", "idle_timeout = \"1s\"", "nonsense = 1"] {
        proxy.reload(scheduler, &configuration(refused));
        wait::until("it is refused", || reloads(&proxy).0 == 0.0);
        echoes(&client);
        // The next refusal is to be seen as one.
        proxy.reload(scheduler, &configuration("shares = 900"));
        wait::until("it is reloaded", || reloads(&proxy).0 == 1.0);
    }
    let log = proxy.log();
    assert!(
        log.contains("[listeners.main] can't be changed while it runs"),
        "{log}"
    );
    proxy.stop();
}
