//! Verdicts of health checks over changes: they belong to the server.

use crate::balance::{name_of, named};
use crate::harness::change;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(a_verdict_outlives_a_switch_and_holds_until_another_check_has_a_result);

fn a_verdict_outlives_a_switch_and_holds_until_another_check_has_a_result(scheduler: Scheduler) {
    let (one, two, refusing) = (named(1), named(2), peer::refusing());
    let other = match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    };
    let (first, second) = (one.address(), two.address());
    let text = |scheduler, port: u16, interval: &str| {
        let routes = format!(
            "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n[upstreams.main]\n\
             servers = [\"{first}\", {{ address = \"{second}\", check_port = {port} }}]\n\
             [upstreams.main.health]\ninterval = \"{interval}\"\ntimeout = \"10s\"\nfall = 1\nrise = 1\n"
        );
        change::text(scheduler, 2, "", &routes)
    };
    let proxy = Proxy::start_file(&text(scheduler, refusing.port(), "100ms"));
    let labels = [("upstream", "main"), ("server", &second.to_string()[..])];
    let up = |proxy: &Proxy| proxy.metric("corelane_upstream_up", &labels);
    let results = |proxy: &Proxy| {
        let metrics = proxy.metrics();
        let all = metrics.series("corelane_upstream_health_checks_total", &labels);
        all.map(|(_, count)| count).sum::<f64>()
    };
    let only_the_first = || {
        let names = (0..6).map(|_| name_of(&proxy.connect("main")));
        names.filter(|&name| name == 1).count() == 6
    };
    wait::until("its checks fail", || up(&proxy) == 0.0);
    assert!(only_the_first());
    // The second server's turn is in half an hour.
    change::switch(&proxy, &text(other, refusing.port(), "1h"));
    assert_eq!(up(&proxy), 0.0, "nobody has asked again");
    assert!(only_the_first());
    // Another check, that would pass, and has no result yet.
    let before = results(&proxy);
    change::reload(&proxy, &text(other, second.port(), "1h"));
    assert_eq!((results(&proxy), up(&proxy)), (before, 0.0));
    assert!(only_the_first());
    change::reload(&proxy, &text(other, second.port(), "100ms"));
    wait::until("it passes", || up(&proxy) == 1.0);
    wait::until("it is used", || name_of(&proxy.connect("main")) == 2);
    proxy.stop();
}
