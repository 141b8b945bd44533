//! `/readyz`: whether this proxy takes new connections.

use std::fmt::Write as _;

use hyper::StatusCode;

use crate::observed::Observed;

/// Upstreams that an answer names at most.
const UPSTREAMS_TOLD_MAX: usize = 20;

/// The answer to a query, the part of a URI after the question mark: `strict` asks for a server of each upstream, too.
pub(crate) fn answer(observed: &Observed, query: &str) -> (StatusCode, String) {
    let is_strict = match query {
        "" => false,
        "strict" | "strict=" | "strict=1" | "strict=true" => true,
        _ => {
            let told = "the only parameter is strict: /readyz?strict\n".to_owned();
            return (StatusCode::BAD_REQUEST, told);
        }
    };
    if observed.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let view = observed.view();
    let configured = view.upstreams.iter().filter(|view| view.pool.is_some());
    let down = configured.filter(|view| {
        let mut servers = view.members().iter();
        is_strict && servers.all(|server| !server.is_up())
    });
    let mut told = String::new();
    for upstream in down.clone().take(UPSTREAMS_TOLD_MAX) {
        let servers = upstream.members().len();
        let _ = writeln!(
            told,
            "upstream {} has no server up ({servers} of {servers} down)",
            upstream.upstream.name
        );
    }
    match down.count().saturating_sub(UPSTREAMS_TOLD_MAX) {
        0 => {}
        more => {
            let _ = writeln!(told, "and {more} more upstreams");
        }
    }
    if told.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, told)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    #[test]
    fn only_a_strict_question_looks_at_servers() {
        let observed = fixture::proxy();
        let answer = |query| {
            let (status, text) = super::answer(&observed, query);
            (status.as_u16(), text)
        };
        let ready = (200, "ready\n".to_owned());
        let servers = [0, 1].map(|place| fixture::server(&observed, place));
        servers[0].set_down();
        assert_eq!(answer("strict"), ready);
        servers[1].set_down();
        let down = "upstream pool has no server up (2 of 2 down)\n".to_owned();
        assert_eq!(answer("strict"), (503, down.clone()));
        assert_eq!(answer("strict=1"), (503, down));
        assert_eq!(answer(""), ready);
        assert_eq!(answer("strikt").0, 400);
        observed.start_draining();
        assert_eq!(answer("strict"), (503, "draining\n".to_owned()));
    }
}
