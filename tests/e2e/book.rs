//! The book's recipes: each page's files and commands, as they stand there, on a machine's network that the page has for itself.

mod page;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rcgen::generate_simple_self_signed;

use crate::failover::scripted_patroni_at;
use crate::harness::network;
use crate::harness::peer::Server;
use crate::harness::proxy;
use crate::harness::scheduler::{AUTO, Scheduler, each_scheduler};
use crate::harness::shell::Shell;
use crate::harness::wait;
use crate::service::kubernetes::ScriptedKubernetes;
use crate::service::postgres::Postgres;
use page::{Command, Step};

each_scheduler!(
    getting_started,
    postgresql,
    redis,
    mqtt,
    tls_by_name,
    cloud_balancer,
    kubernetes
);

/// Those of clients: none of a recipe's.
const PORTS: &str = "20000 60999";

fn getting_started(scheduler: Scheduler) {
    network::alone(PORTS, || {
        follow(scheduler, "getting-started.md", &[], |_| {})
    });
}

fn redis(scheduler: Scheduler) {
    network::alone(PORTS, || follow(scheduler, "recipes/redis.md", &[], |_| {}));
}

fn mqtt(scheduler: Scheduler) {
    network::alone(PORTS, || follow(scheduler, "recipes/mqtt.md", &[], |_| {}));
}

fn tls_by_name(scheduler: Scheduler) {
    network::alone(PORTS, || follow(scheduler, "recipes/tls.md", &[], |_| {}));
}

fn cloud_balancer(scheduler: Scheduler) {
    network::alone(PORTS, || {
        follow(scheduler, "recipes/cloud-balancer.md", &[], |_| {});
    });
}

/// The servers are there, each with what stands for Patroni.
fn postgresql(scheduler: Scheduler) {
    network::alone(PORTS, || {
        let primary = Postgres::start_on(5432);
        let standby = Postgres::start_standby_on(&primary, 5433);
        let _patronis = [(&primary, 8008), (&standby, 8009)]
            .map(|(server, port)| scripted_patroni_at(local(port), server.address));
        follow(scheduler, "recipes/postgresql.md", &[], |_| {});
    });
}

/// What a pod has: variables, the account's files, an API server, another pod.
fn kubernetes(scheduler: Scheduler) {
    network::alone(PORTS, || {
        let api = ScriptedKubernetes::start();
        api.expect_token("secret");
        api.say("web-1", &["127.0.0.1"], 8081);
        let greet = |mut stream: std::net::TcpStream| drop(stream.write_all(b"served by web\n"));
        let _pod = Server::bind_at(local(8081)).serve(greet);
        let variables = [
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "6443"),
        ];
        follow(scheduler, "recipes/kubernetes.md", &variables, |shell| {
            let made = generate_simple_self_signed(["127.0.0.1".to_owned()]);
            let made = made.expect("a certificate");
            let [certificate, key] =
                ["api.crt", "api.key"].map(|name| shell.directory().join(name));
            fs::write(&certificate, made.cert.pem()).expect("write");
            fs::write(&key, made.signing_key.serialize_pem()).expect("write");
            let (certificate, key) = (certificate.display(), key.display());
            let account = "/run/secrets/kubernetes.io/serviceaccount";
            let made = shell.type_in(
                &format!("mkdir -p {account} && echo secret >{account}/token && cp {certificate} {account}/ca.crt"),
                false,
            );
            assert_eq!(made.end(), 0, "{}", made.output());
            let address = api.address();
            shell.type_in(
                &format!("socat openssl-listen:6443,fork,reuseaddr,cert={certificate},key={key},verify=0 tcp:{address}"),
                true,
            );
        });
    });
}

#[test]
fn a_block_that_no_test_runs_says_why() {
    // Reading them fails where one doesn't.
    let recipes = fs::read_dir(docs().join("recipes")).expect("recipes");
    let recipes = recipes.map(|entry| entry.expect("a page").path());
    let recipes = recipes.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let others = ["getting-started.md", "performance.md"].map(|name| docs().join(name));
    for path in recipes.chain(others) {
        page::steps(&path);
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Does what the page says.
fn follow(
    scheduler: Scheduler,
    page: &str,
    variables: &[(&str, &str)],
    prepare: impl FnOnce(&mut Shell),
) {
    let directory = tempfile::tempdir().expect("directory");
    let programs = directory.path().join("programs");
    fs::create_dir(&programs).expect("directory");
    let binary = proxy::command();
    symlink(binary.get_program(), programs.join("corelane")).expect("link");
    let others = std::env::var("PATH").expect("PATH");
    let path = format!("{}:{others}:/usr/sbin", programs.display());
    let variables = [&[("PATH", &path[..])], variables].concat();
    let Some(mut shell) = Shell::start(directory.path(), &variables) else {
        return;
    };
    // What the programs write there is the page's, too.
    assert_eq!(shell.type_in("mount -t tmpfs none /run", false).end(), 0);
    prepare(&mut shell);
    let steps = page::steps(&docs().join(page));
    assert!(
        steps.iter().any(|step| matches!(step, Step::Command(_))),
        "{page} has no command"
    );
    for step in steps {
        match step {
            Step::File { path, text } => {
                let path = directory.path().join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
                fs::write(path, chosen(scheduler, &text)).expect("write");
            }
            Step::Command(command) => run(&mut shell, page, &command),
        }
    }
}

/// The file with this scheduler, whose lines stay where they are.
fn chosen(scheduler: Scheduler, text: &str) -> String {
    match text.contains(AUTO) {
        true => scheduler.choose_in(text),
        false => format!("{text}\n[runtime]\n{}", scheduler.runtime_toml()),
    }
}

/// Between two tries of a command.
const PAUSE: Duration = Duration::from_millis(100);

/// Types a command, until it says what the page says: what a reader sees may take a moment.
fn run(shell: &mut Shell, page: &str, command: &Command) {
    let Command { line, expected } = command;
    let is_proxy = line.starts_with("corelane run ");
    let mut said = String::new();
    let is_said = if is_proxy {
        let typed = shell.type_in(line, true);
        wait::holds_within(wait::DEADLINE, || {
            said = typed.output();
            page::has(&said, expected)
        })
    } else {
        wait::holds_within(wait::DEADLINE, || {
            let typed = shell.type_in(line, false);
            let code = typed.end();
            said = typed.output();
            let is_well = page::has(&said, expected) && (code == 0 || !expected.is_empty());
            if !is_well {
                thread::sleep(PAUSE);
            }
            is_well
        })
    };
    let expected = expected.join("\n");
    assert!(
        is_said,
        "{page}: $ {line}\nsays:\n{said}\ninstead of:\n{expected}"
    );
}
