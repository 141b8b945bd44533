//! `stats`: HAProxy's page, in whose place the admin server is.

use super::super::plan::Plan;
use super::proxy::Proxy;
use super::section::Line;
use super::useless;

/// Options of `bind` that say who comes, or how.
const BARS: [&str; 4] = ["accept-proxy", "interface", "namespace", "v6only"];

/// Makes the admin server of a section of HTTP that only shows figures. False if it is something else.
pub(super) fn carry(proxy: &Proxy, plan: &mut Plan) -> bool {
    let shows = proxy
        .all("stats")
        .iter()
        .any(|line| matches!(line.words[1].as_str(), "enable" | "uri"));
    let forwards = !proxy.all("server").is_empty()
        || proxy.last.contains_key("default_backend")
        || !proxy.all("use_backend").is_empty();
    let binds = proxy.all("bind");
    let Some(bind) = binds.first().filter(|_| shows && !forwards) else {
        return false;
    };
    note(proxy, plan);
    let from = &bind.from;
    let mut lines = [proxy.all("stats"), proxy.all("tcp-request"), &proxy.http]
        .into_iter()
        .flatten();
    if let Some(asks) = lines.find(|line| keeps_out(line)) {
        let why = "the page of corelane asks for no password and knows no such rule, so it stays at 127.0.0.1:9600; set `listen` of [admin] \
                   where only those who may see it come";
        plan.notes.lose(&asks.from, why);
        return true;
    }
    if bind.words.iter().any(|word| word == "ssl") {
        plan.notes.lose(from, "the page has TLS by `tls_certificate` and `tls_key` of [admin]; until then it is at 127.0.0.1:9600");
        return true;
    }
    if let Some(option) = bind.words[2..]
        .iter()
        .find(|word| BARS.contains(&word.as_str()))
    {
        let why = "the admin server has no such option, so it stays at 127.0.0.1:9600; set `listen` of [admin]";
        plan.notes.lose(&from.part(option), why);
        return true;
    }
    let mut addresses = bind.words[1].split(',');
    let address = addresses.next().unwrap_or_default();
    let others = binds[1..].iter().map(|bind| bind.from.clone());
    let others = others.chain(addresses.map(|address| from.part(address)));
    for other in others {
        let why =
            "the admin server listens at one address (`listen` of [admin]), which is the first one";
        plan.notes.lose(&other, why);
    }
    let address = match address.rsplit_once(':') {
        Some(("" | "*", port)) => format!("0.0.0.0:{port}"),
        Some(("::" | "[::]", port)) => format!("*:{port}"),
        _ => address.to_owned(),
    };
    plan.admin.set("listen", address, from);
    let why = "the live page is at `/` there, and /metrics, /healthz and /state beside it";
    plan.notes.remark(&proxy.from, why);
    true
}

/// Whether a line may refuse somebody, or have somebody say a password.
fn keeps_out(line: &Line) -> bool {
    let words = line.words();
    match words[..] {
        ["stats", word, ..] => matches!(word, "auth" | "http-request" | "scope"),
        ["tcp-request", word, ..] => word != "inspect-delay",
        ["http-request", word, ..] => {
            let is_harmless = word.starts_with("set-")
                || word.starts_with("add-")
                || word.starts_with("del-")
                || word.starts_with("capture")
                || word == "use-service";
            !is_harmless
        }
        [
            "block" | "redirect" | "filter" | "http-after-response" | "use-server",
            ..,
        ] => true,
        _ => false,
    }
}

/// Notes the lines that nothing is made of.
fn note(proxy: &Proxy, plan: &mut Plan) {
    for line in proxy.all("stats") {
        let (is_lost, why) = match line.words[1].as_str() {
            "enable" | "uri" | "auth" | "http-request" | "scope" => continue,
            "admin" => (
                true,
                "whoever may change the proxy does so by `socket` or `token_file` of [admin]",
            ),
            _ => (false, "the live page has no such setting"),
        };
        match is_lost {
            true => plan.notes.lose(&line.from, why),
            false => plan.notes.remark(&line.from, why),
        }
    }
    for line in proxy.http.iter().filter(|line| !keeps_out(line)) {
        match line.words().as_slice() {
            ["monitor-uri", ..] => plan.notes.remark(&line.from, "/healthz answers there"),
            ["http-request", "use-service", ..] => {
                plan.notes.remark(&line.from, "/metrics answers there")
            }
            words => useless::line(words, &line.from, &mut plan.notes),
        }
    }
}
