//! What has changed lately is seen after an upgrade as before it, and the upgrade is among it.

use serde_json::Value;

use crate::ctl::Controlled;
use crate::harness::config::route;
use crate::harness::heirs::Heirs;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::upgrade::{ask, upgrade};

each_scheduler!(events_go_on_over_upgrades);

fn events(controlled: &Controlled) -> Vec<Value> {
    let shown = controlled.json(&["events"]);
    let events = shown["events"].as_array().expect("a list").clone();
    let last = events
        .last()
        .map_or(Value::from(0), |event| event["number"].clone());
    assert_eq!(shown["last"], last, "{shown}");
    events
}

fn events_go_on_over_upgrades(scheduler: Scheduler) {
    let routes = route("main", "127.0.0.1:0", &["builtin:echo"], "", "");
    let controlled = Controlled::start(scheduler, "", &routes);
    let heirs = Heirs::of(&controlled.proxy);
    let own = format!("uid={} ", rustix::process::geteuid().as_raw());
    for (round, by) in ["SIGUSR2", &own].into_iter().enumerate() {
        controlled.done(&["reload"]);
        let before = events(&controlled);
        assert!(before.len() > round, "{before:?}");
        let pid = heirs.only();
        if by == "SIGUSR2" {
            upgrade(&controlled.proxy, &heirs);
        } else {
            let asked = ask(&controlled.socket, None);
            assert!(asked.status.success(), "{asked:?}");
            wait::until("the new process runs alone", || heirs.only() != pid);
        }
        let after = events(&controlled);
        assert_eq!(after[..before.len()], before, "as they were");
        let numbers = after.iter().map(|event| event["number"].as_u64());
        assert!(numbers.eq((1..=after.len() as u64).map(Some)), "{after:?}");
        let words = format!("has taken over from process {pid}");
        let new = &after[before.len()..];
        let is_upgrade = |event: &&Value| {
            let text = |name: &str| event[name].as_str().unwrap_or_default();
            text("kind") == "process" && text("what").contains(&words)
        };
        let told: Vec<_> = new.iter().filter(is_upgrade).collect();
        assert_eq!(told.len(), 1, "{new:?}");
        let asked = told[0]["by"].as_str().expect("words");
        assert!(asked.starts_with(by), "{asked}");
    }
    controlled.proxy.stop();
}
