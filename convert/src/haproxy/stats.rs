//! `stats`: HAProxy's page, in whose place the admin server is.

use super::super::plan::Plan;
use super::proxy::Proxy;

/// Makes the admin server of a section of HTTP that only shows figures. False if it is something else.
pub(super) fn carry(proxy: &Proxy, plan: &mut Plan) -> bool {
    let shows = proxy
        .all("stats")
        .iter()
        .any(|line| matches!(line.words[1].as_str(), "enable" | "uri"));
    let forwards = !proxy.all("server").is_empty()
        || proxy.last.contains_key("default_backend")
        || !proxy.all("use_backend").is_empty();
    let Some(bind) = proxy.all("bind").first().filter(|_| shows && !forwards) else {
        return false;
    };
    let from = &bind.from;
    let asks = proxy
        .all("stats")
        .iter()
        .find(|line| matches!(line.words[1].as_str(), "auth" | "http-request"));
    if let Some(asks) = asks {
        let why = "the page of corelane asks for no password, so it stays at 127.0.0.1:9600; set `listen` of [admin] where only those who \
                   may see it come";
        plan.notes.lose(&asks.from, why);
        return true;
    }
    if bind.words.iter().any(|word| word == "ssl") {
        plan.notes.lose(from, "the page has TLS by `tls_certificate` and `tls_key` of [admin]; until then it is at 127.0.0.1:9600");
        return true;
    }
    let address = &bind.words[1];
    let address = match address.rsplit_once(':') {
        Some(("" | "*", port)) => format!("0.0.0.0:{port}"),
        Some(("::" | "[::]", port)) => format!("*:{port}"),
        _ => address.clone(),
    };
    plan.admin.set("listen", address, from);
    let why = "the live page is at `/` there, and /metrics, /healthz and /state beside it";
    plan.notes.remark(&proxy.from, why);
    true
}
