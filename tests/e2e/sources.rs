//! What becomes of servers that come and go by a source, and of one that names the proxy itself.

use std::fs;
use std::path::Path;

use crate::discovery::{ask, goes_on, named, until, until_failed};
use crate::harness::change;
use crate::harness::peer::Service;
use crate::harness::port;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::dns::{A, Reply, SRV, ScriptedDns};
use crate::service::kubernetes::{Instead, ScriptedKubernetes};

each_scheduler!(
    a_service_of_kubernetes_is_followed,
    records_of_a_higher_priority_stand_by,
    a_server_that_comes_begins_slowly,
    one_that_goes_drains,
    the_proxy_itself_is_refused,
);

fn routes(bind: &str, upstream: &str, discovery: &str) -> String {
    format!(
        "[listeners.main]\nbind = \"{bind}\"\nupstream = \"main\"\n[upstreams.main]\n{upstream}\n\
         [upstreams.main.discovery]\n{discovery}\n"
    )
}

/// Of so many connections, those that a server gets.
fn gets(proxy: &Proxy, name: u8, of: usize) -> usize {
    (0..of).filter(|_| ask(proxy).1 == Some(name)).count()
}

fn write_list(path: &Path, servers: &[&Service]) {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| server.address().to_string())
        .collect();
    let next = path.with_extension("next");
    fs::write(&next, format!("{servers:?}")).expect("write");
    fs::rename(next, path).expect("rename");
}

fn other(scheduler: Scheduler) -> Scheduler {
    match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    }
}

fn a_service_of_kubernetes_is_followed(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let api = ScriptedKubernetes::start();
    let directory = tempfile::tempdir().expect("a directory");
    let token = directory.path().join("token");
    fs::write(&token, "secret").expect("write");
    api.expect_token("secret");
    let say = |server: &Service| api.say("web-a", &["127.0.0.1"], server.address().port());
    say(&one);
    let discovery = format!(
        "kubernetes = {{ service = \"web\", namespace = \"shop\", port = \"http\", api = \"http://{}\", token_file = \"{}\" }}",
        api.address(),
        token.display()
    );
    let text = |scheduler| change::text(scheduler, 2, "", &routes("127.0.0.1:0", "", &discovery));
    let proxy = Proxy::start_file(&text(scheduler));
    let client = until(&proxy, 1);
    wait::until("it is watched", || api.watches() == 1);
    say(&two);
    drop(until(&proxy, 2));
    goes_on(&client);
    // The watch is not the scheduler's.
    change::switch(&proxy, &text(other(scheduler)));
    say(&one);
    drop(until(&proxy, 1));
    assert_eq!((api.lists(), api.watches()), (1, 1));
    api.say_instead(Some(Instead::Status(503)));
    until_failed(&proxy, "refused");
    assert_eq!(ask(&proxy).1, Some(1), "the last good set stays");
    goes_on(&client);
    drop(client);
    proxy.stop();
}

fn records_of_a_higher_priority_stand_by(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let dns = ScriptedDns::start();
    dns.say("host.example.test", A, Reply::addresses(&["127.0.0.1"], 1));
    let record =
        |priority, server: &Service| (priority, 1, server.address().port(), "host.example.test");
    let records = [record(20, &two), record(10, &one)];
    dns.say("_web._tcp.example.test", SRV, Reply::services(&records, 1));
    let discovery = format!(
        "dns = \"_web._tcp.example.test\"\nnameservers = [\"{}\"]",
        dns.address()
    );
    let proxy = Proxy::start(scheduler, &routes("127.0.0.1:0", "", &discovery));
    drop(until(&proxy, 1));
    assert_eq!(gets(&proxy, 1, 10), 10, "the other one stands by");
    drop(one);
    let answers: Vec<_> = (0..10).map(|_| ask(&proxy).1).collect();
    assert_eq!(answers, [Some(2); 10], "{}", proxy.log());
    // Nothing but the priority changes: now the first one is a backup, and there.
    let three = named(3);
    let records = [record(10, &two), record(10, &three)];
    dns.say("_web._tcp.example.test", SRV, Reply::services(&records, 1));
    drop(until(&proxy, 3));
    let records = [record(10, &two), record(20, &three)];
    dns.say("_web._tcp.example.test", SRV, Reply::services(&records, 1));
    wait::until("it stands by", || gets(&proxy, 2, 10) == 10);
    proxy.stop();
}

fn a_server_that_comes_begins_slowly(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("servers.json");
    write_list(&path, &[&one]);
    let discovery = format!("file = \"{}\"", path.display());
    // Longer than the test.
    let text = routes("127.0.0.1:0", "slow_start = \"1h\"", &discovery);
    let proxy = Proxy::start(scheduler, &text);
    assert_eq!(gets(&proxy, 1, 4), 4);
    write_list(&path, &[&one, &two]);
    let server = two.address().to_string();
    let labels = [("upstream", "main"), ("server", &server[..])];
    let weight = || {
        let metrics = proxy.metrics();
        let mut all = metrics.series("corelane_upstream_server_weight", &labels);
        all.next().map(|(_, weight)| weight)
    };
    wait::until("it is there", || weight().is_some());
    let weight = weight().expect("it is there");
    assert!(weight > 0.0 && weight < 0.2, "{weight}");
    assert!(gets(&proxy, 1, 40) >= 36);
    proxy.stop();
}

fn one_that_goes_drains(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let dns = ScriptedDns::start();
    dns.say("host.example.test", A, Reply::addresses(&["127.0.0.1"], 1));
    let say = |servers: &[&Service]| {
        let records = servers.iter();
        let records = records.map(|server| (0, 1, server.address().port(), "host.example.test"));
        let records: Vec<_> = records.collect();
        dns.say("_web._tcp.example.test", SRV, Reply::services(&records, 1));
    };
    say(&[&one, &two]);
    let discovery = format!(
        "dns = \"_web._tcp.example.test\"\nnameservers = [\"{}\"]",
        dns.address()
    );
    let text = |scheduler| change::text(scheduler, 2, "", &routes("127.0.0.1:0", "", &discovery));
    let proxy = Proxy::start_file(&text(scheduler));
    let client = until(&proxy, 1);
    say(&[&two]);
    let servers = [("upstream", "main")];
    wait::until("it is named no more", || {
        proxy.metric("corelane_discovery_servers", &servers) == 1.0
    });
    wait::until("nobody else goes there", || gets(&proxy, 2, 10) == 10);
    goes_on(&client);
    change::switch(&proxy, &text(other(scheduler)));
    goes_on(&client);
    let answers: Vec<_> = (0..10).map(|_| ask(&proxy).1).collect();
    assert_eq!(answers, [Some(2); 10], "{}", proxy.log());
    drop(client);
    proxy.stop();
}

fn the_proxy_itself_is_refused(scheduler: Scheduler) {
    let one = named(1);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("servers.json");
    write_list(&path, &[&one]);
    let discovery = format!("file = \"{}\"", path.display());
    let bind = format!("127.0.0.1:{}", port::free());
    let proxy = Proxy::start(scheduler, &routes(&bind, "", &discovery));
    drop(until(&proxy, 1));
    fs::write(&path, format!("[\"{}\", \"{bind}\"]", one.address())).expect("write");
    until_failed(&proxy, "loop");
    assert_eq!(gets(&proxy, 1, 10), 10, "the last good set stays");
    proxy.logs("[listeners.main] of this proxy");
    proxy.stop();
}
