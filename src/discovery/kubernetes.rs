//! Servers by the API of Kubernetes: the EndpointSlices of a service, by a list and a watch.
//!
//! By plain requests, of which there are two kinds: the crate `kube` brings some hundred others, and keeps its own caches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proxy_config::{HttpUrl, Kubernetes};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::failure::{Failure, Reason};
use super::fetch::{self, Opened, Request};
use super::lookup::Lookup;
use super::report::{self, Said};
use super::secure::Tls;
use super::slices::{Heard, Port, Slices};
use crate::config_file::read_servers_meanwhile;

/// Where a pod finds its account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long the API server keeps a watch, which is then made again from where it ended: a connection that died without a word is
/// noticed so.
const WATCH: Duration = Duration::from_secs(60);

/// How long an answer may take that nobody is to wait for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon it is asked again after a failure.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How soon it is asked again at the earliest.
const PAUSE: Duration = Duration::from_millis(200);

/// Events that follow one another sooner than this are one change.
const TOGETHER: Duration = Duration::from_millis(20);

/// The most events that are one change.
const TOGETHER_MAX: usize = 1000;

/// Bytes of a token or of the authorities' certificates.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Asks for as long as it runs.
pub(super) async fn ask(source: &Kubernetes, interval: Duration, lookup: &Lookup, said: &Said) {
    let mut slices = Slices::new(source.port.as_deref().map(Port::new));
    loop {
        let pause = match follow(source, &mut slices, lookup, said).await {
            // It is listed again.
            Ok(()) => PAUSE,
            Err(failure) => {
                said.on_failure(&failure);
                interval.min(INTERVAL_AFTER_FAILURE)
            }
        };
        sleep(pause).await;
    }
}

/// Lists, and follows the changes from there on. Returns when that isn't possible any more, as the list is too old.
async fn follow(
    source: &Kubernetes,
    slices: &mut Slices,
    lookup: &Lookup,
    said: &Said,
) -> Result<(), Failure> {
    let access = Access::of(source).await?;
    let path = access.path("");
    let page = fetch::get(access.request(&path, PATIENCE), lookup).await?;
    slices.on_list(page.body(&access.url)?)?;
    sleep(say(slices, said)).await;
    loop {
        // Tokens of pods are good for an hour, and replaced in time.
        let access = Access::of(source).await?;
        if !watch(&access, slices, lookup, said).await? {
            return Ok(());
        }
        // That nothing has changed is a success, too.
        sleep(say(slices, said).max(PAUSE)).await;
    }
}

/// One watch, until it ends. False when the list is too old.
async fn watch(
    access: &Access,
    slices: &mut Slices,
    lookup: &Lookup,
    said: &Said,
) -> Result<bool, Failure> {
    let (version, seconds) = (slices.version(), WATCH.as_secs());
    let more = format!(
        "&watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}"
    );
    let path = access.path(&more);
    let mut opened = fetch::open(access.request(&path, PATIENCE), lookup).await?;
    match opened.status {
        410 => return Ok(false),
        _ => opened.expect_success(&access.url)?,
    }
    let mut until = Instant::from_std(report::now()) + WATCH + PATIENCE;
    loop {
        let Ok(line) = timeout_at(until, opened.line(&access.url)).await else {
            let detail = format!("{}: the watch hangs", access.url);
            return Err(Failure::new(Reason::Timeout, detail));
        };
        let Some(line) = line? else {
            return Ok(true);
        };
        let Some(has_changed) = hear(&line, &mut opened, slices, access).await? else {
            return Ok(false);
        };
        if has_changed {
            let pause = say(slices, said);
            sleep(pause).await;
            // What came meanwhile is still to be read.
            until += pause;
        }
    }
}

/// Takes a line, and those that follow it at once. Whether they change anything; none when the list is too old.
async fn hear(
    line: &[u8],
    opened: &mut Opened,
    slices: &mut Slices,
    access: &Access,
) -> Result<Option<bool>, Failure> {
    let mut has_changed = false;
    let mut line = Some(line.to_vec());
    for _ in 0..TOGETHER_MAX {
        match line {
            // The end is found again.
            None => break,
            Some(line) => match slices.on_event(&line)? {
                Heard::Gone => return Ok(None),
                Heard::Change => has_changed = true,
                Heard::Mark => {}
            },
        }
        line = match timeout(TOGETHER, opened.line(&access.url)).await {
            Ok(next) => next?,
            Err(_) => break,
        };
    }
    Ok(Some(has_changed))
}

/// Tells what is known now. Returns how long the source is to be left alone.
fn say(slices: &Slices, said: &Said) -> Duration {
    match slices.servers() {
        Ok(found) => said.on_found(found),
        Err(failure) => {
            said.on_failure(&failure);
            Duration::ZERO
        }
    }
}

/// How the API is reached, as its files are now.
struct Access {
    url: HttpUrl,
    namespace: String,
    service: String,
    token: Option<String>,
    tls: Option<Tls>,
}

impl Access {
    async fn of(source: &Kubernetes) -> Result<Self, Failure> {
        let url = match &source.api {
            Some(url) => url.clone(),
            None => of_environment()?,
        };
        let account = |name: &str| PathBuf::from(format!("{ACCOUNT}/{name}"));
        let namespace = match &source.namespace {
            Some(namespace) => namespace.clone(),
            None => text(&account("namespace")).await?,
        };
        let token = match &source.token_file {
            Some(path) => Some(text(path).await?),
            // Who may read without one, as a proxy of kubectl's lets everybody, needs none.
            None => text(&account("token")).await.ok(),
        };
        let tls = if url.secure {
            let path = source.ca_file.clone();
            let pem = read(&path.unwrap_or_else(|| account("ca.crt"))).await?;
            Some(Tls::new(&pem, &url.host)?)
        } else {
            None
        };
        Ok(Self {
            url,
            namespace,
            service: source.service.clone(),
            // Over plain HTTP it would be everybody's.
            token: token.filter(|_| tls.is_some() || source.token_file.is_some()),
            tls,
        })
    }

    /// The path of the service's slices, with more of a query.
    fn path(&self, more: &str) -> String {
        let Self {
            namespace, service, ..
        } = self;
        let base = self.url.path.trim_end_matches('/');
        format!(
            "{base}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices\
             ?labelSelector=kubernetes.io%2Fservice-name%3D{service}{more}"
        )
    }

    fn request<'a>(&'a self, path: &'a str, patience: Duration) -> Request<'a> {
        Request {
            url: &self.url,
            path,
            etag: None,
            token: self.token.as_deref(),
            tls: self.tls.as_ref(),
            patience,
        }
    }
}

/// The API server that a pod is told of.
fn of_environment() -> Result<HttpUrl, Failure> {
    let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let port = of("KUBERNETES_SERVICE_PORT").and_then(|port| port.parse().ok());
    let (Some(host), Some(port)) = (of("KUBERNETES_SERVICE_HOST"), port) else {
        return Err(Failure::new(
            Reason::Unreachable,
            "this is no pod of Kubernetes (KUBERNETES_SERVICE_HOST isn't set); write `api`, as in api = \
             \"https://10.0.0.1:6443\"",
        ));
    };
    Ok(HttpUrl {
        secure: true,
        host,
        port,
        path: "/".to_owned(),
    })
}

/// A file of one line.
async fn text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path).await?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let detail = format!("{} is no text", path.display());
        Failure::new(Reason::Format, detail)
    })?;
    Ok(text.trim().to_owned())
}

/// A file of those that a pod has, as it is now.
async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let what = "what Kubernetes is asked with";
    let file = read_servers_meanwhile(what, path, FILE_BYTES_MAX).await;
    file.bytes.map_err(|(is_absent, why)| {
        let reason = if is_absent {
            Reason::NotFound
        } else {
            Reason::Unreachable
        };
        Failure::new(reason, why)
    })
}
