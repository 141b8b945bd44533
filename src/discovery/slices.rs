//! EndpointSlices of Kubernetes (`discovery.k8s.io/v1`): what is known of a service's endpoints, by lists and by events of a watch.
//!
//! Pure: the bytes come from who asked, within bounds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::failure::{Failure, Reason};
use super::found::{Found, checked};

/// Slices of one service; Kubernetes puts 100 endpoints into each unless it is told otherwise.
pub(super) const SLICES_MAX: usize = 1024;

/// Endpoints of one slice, as Kubernetes has it.
const ENDPOINTS_MAX: usize = 1000;

/// Endpoints of all slices of a service, whatever their state: more than an upstream has servers, as some may be starting or
/// ending.
const ALL_ENDPOINTS_MAX: usize = 16 * 1024;

/// The endpoints of a service, slice by slice.
#[derive(Debug)]
pub(super) struct Slices {
    port: Option<Port>,
    /// By the name of the slice.
    known: BTreeMap<String, Slice>,
    /// What they are as of.
    version: String,
}

/// Which port of a service connections go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Named(String),
    Number(u16),
}

/// A line of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something has changed, or may have.
    Change,
    /// Nothing has, up to here.
    Mark,
    /// What was known is too old to go on from: everything is to be listed again.
    Gone,
}

#[derive(Debug)]
struct Slice {
    endpoints: Vec<(IpAddr, State)>,
    ports: Vec<(String, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// It ends, and still serves.
    Ending,
    /// It takes no connections.
    Other,
}

impl Port {
    /// A port as it is configured: digits are a number, as no name has digits only.
    pub(super) fn new(text: &str) -> Self {
        match text.parse() {
            Ok(number) => Self::Number(number),
            Err(_) => Self::Named(text.to_owned()),
        }
    }
}

impl Slices {
    /// Nothing is known yet. Without a port, services have only one.
    pub(super) fn new(port: Option<Port>) -> Self {
        Self {
            port,
            known: BTreeMap::new(),
            version: String::new(),
        }
    }

    /// What they are as of, for a watch that goes on from there.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// A list of all of them came.
    ///
    /// # Errors
    /// When it is none. What was known stays then.
    pub(super) fn on_list(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let list: wire::List = serde_json::from_slice(bytes)
            .map_err(|error| not_understood("an EndpointSliceList", &error))?;
        if !list.metadata.r#continue.unwrap_or_default().is_empty() {
            return Err(Failure::new(
                Reason::TooMany,
                "the list of EndpointSlices goes on on another page",
            ));
        }
        let mut known = BTreeMap::new();
        for slice in list.items.unwrap_or_default() {
            let (name, slice) = read(slice)?;
            known.insert(name, slice);
        }
        bounded(&known)?;
        self.known = known;
        self.version = list.metadata.resource_version;
        Ok(())
    }

    /// A line of a watch came.
    ///
    /// # Errors
    /// When it is no event, or one of an error. What is known is incomplete from then on.
    pub(super) fn on_event(&mut self, line: &[u8]) -> Result<Heard, Failure> {
        let event: wire::Event = serde_json::from_slice(line)
            .map_err(|error| not_understood("an event of a watch", &error))?;
        match event {
            wire::Event::Added(slice) | wire::Event::Modified(slice) => {
                self.version = slice.metadata.resource_version.clone();
                let (name, slice) = read(slice)?;
                self.known.insert(name, slice);
                bounded(&self.known)?;
                Ok(Heard::Change)
            }
            wire::Event::Deleted(slice) => {
                self.version = slice.metadata.resource_version;
                self.known.remove(&slice.metadata.name);
                Ok(Heard::Change)
            }
            wire::Event::Bookmark(mark) => {
                self.version = mark.metadata.resource_version;
                Ok(Heard::Mark)
            }
            wire::Event::Error(wire::Status { code: 410, .. }) => Ok(Heard::Gone),
            wire::Event::Error(wire::Status { code, message }) => Err(Failure::new(
                Reason::Refused,
                format!("the watch ends with status {code}: {message}"),
            )),
        }
    }

    /// The servers that they are: the endpoints that are ready, or where none is, those that end and still serve, as kube-proxy
    /// has it. Of a service with both kinds of addresses, those of IPv4: each pod has one of each.
    ///
    /// # Errors
    /// When there are none, or too many, or some that no server is at, or the port isn't clear.
    pub(super) fn servers(&self) -> Result<Vec<Found>, Failure> {
        for wanted in [State::Ready, State::Ending] {
            let mut addresses = Vec::new();
            for slice in self.known.values() {
                let of_state = slice.endpoints.iter().filter(|(_, state)| *state == wanted);
                let mut of_state = of_state.map(|(ip, _)| *ip).peekable();
                if of_state.peek().is_none() {
                    continue;
                }
                if let Some(port) = self.port_of(slice)? {
                    addresses.extend(of_state.map(|ip| SocketAddr::new(ip, port)));
                }
            }
            if addresses.is_empty() {
                continue;
            }
            if addresses.iter().any(SocketAddr::is_ipv4) {
                addresses.retain(SocketAddr::is_ipv4);
            }
            return checked(addresses.into_iter().map(Found::at).collect());
        }
        Err(Failure::new(
            Reason::Empty,
            "the service has no endpoint that is ready, or not at this port",
        ))
    }

    /// None where a slice lacks it.
    fn port_of(&self, slice: &Slice) -> Result<Option<u16>, Failure> {
        let mut ports = slice.ports.iter();
        match &self.port {
            Some(Port::Named(name)) => {
                let named = ports.find(|(own, _)| own == name);
                Ok(named.map(|(_, number)| *number))
            }
            Some(Port::Number(number)) => {
                let is_there = ports.any(|(_, own)| own == number);
                Ok(is_there.then_some(*number))
            }
            None if slice.ports.len() > 1 => {
                let names: Vec<_> = ports.map(|(name, _)| name.as_str()).collect();
                Err(Failure::new(
                    Reason::Format,
                    format!(
                        "the service has several ports; write `port`, one of: {}",
                        names.join(", ")
                    ),
                ))
            }
            None => Ok(ports.next().map(|(_, number)| *number)),
        }
    }
}

fn not_understood(what: &str, error: &serde_json::Error) -> Failure {
    Failure::new(Reason::Format, format!("it is not {what}: {error}"))
}

fn bounded(known: &BTreeMap<String, Slice>) -> Result<(), Failure> {
    let endpoints: usize = known.values().map(|slice| slice.endpoints.len()).sum();
    if known.len() > SLICES_MAX || endpoints > ALL_ENDPOINTS_MAX {
        let detail = format!(
            "the service has {} EndpointSlices with {endpoints} endpoints, and at most {SLICES_MAX} with \
             {ALL_ENDPOINTS_MAX} are read",
            known.len()
        );
        return Err(Failure::new(Reason::TooMany, detail));
    }
    Ok(())
}

fn read(slice: wire::Slice) -> Result<(String, Slice), Failure> {
    let name = slice.metadata.name;
    let endpoints = slice.endpoints.unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        let detail = format!("EndpointSlice {name} has more than {ENDPOINTS_MAX} endpoints");
        return Err(Failure::new(Reason::TooMany, detail));
    }
    let mut read = Slice {
        endpoints: Vec::new(),
        ports: Vec::new(),
    };
    // Names are resolved by nobody here, and Kubernetes makes no such slices by itself.
    if slice.address_type == "FQDN" {
        return Ok((name, read));
    }
    for endpoint in endpoints {
        // All addresses of an endpoint lead to it, and who likes may use the first only.
        let Some(address) = endpoint.addresses.into_iter().next() else {
            continue;
        };
        let ip = address.parse().map_err(|_| {
            let detail = format!("EndpointSlice {name} has the address {address:?}");
            Failure::new(Reason::Address, detail)
        })?;
        read.endpoints.push((ip, state(endpoint.conditions)));
    }
    for port in slice.ports.unwrap_or_default() {
        if port.protocol.is_none_or(|protocol| protocol == "TCP")
            && let Some(number) = port.port
        {
            let number = u16::try_from(number).map_err(|_| {
                let detail = format!("EndpointSlice {name} has the port {number}");
                Failure::new(Reason::Address, detail)
            })?;
            read.ports.push((port.name.unwrap_or_default(), number));
        }
    }
    Ok((name, read))
}

/// What is not said is as good as yes, except that it ends.
fn state(conditions: Option<wire::Conditions>) -> State {
    let wire::Conditions {
        ready,
        serving,
        terminating,
    } = conditions.unwrap_or_default();
    if ready.unwrap_or(true) {
        State::Ready
    } else if terminating == Some(true) && serving == Some(true) {
        State::Ending
    } else {
        State::Other
    }
}

/// What the API says; it says much more.
mod wire {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct List {
        pub(super) metadata: ListMetadata,
        pub(super) items: Option<Vec<Slice>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ListMetadata {
        pub(super) resource_version: String,
        pub(super) r#continue: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Slice {
        pub(super) metadata: Metadata,
        pub(super) address_type: String,
        pub(super) endpoints: Option<Vec<Endpoint>>,
        pub(super) ports: Option<Vec<Port>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Metadata {
        pub(super) name: String,
        pub(super) resource_version: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Endpoint {
        #[serde(default)]
        pub(super) addresses: Vec<String>,
        pub(super) conditions: Option<Conditions>,
    }

    #[derive(Default, Deserialize)]
    pub(super) struct Conditions {
        pub(super) ready: Option<bool>,
        pub(super) serving: Option<bool>,
        pub(super) terminating: Option<bool>,
    }

    #[derive(Deserialize)]
    pub(super) struct Port {
        pub(super) name: Option<String>,
        pub(super) port: Option<i64>,
        pub(super) protocol: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
    pub(super) enum Event {
        Added(Slice),
        Modified(Slice),
        Deleted(Slice),
        Bookmark(Mark),
        Error(Status),
    }

    /// A slice of which only the version counts.
    #[derive(Deserialize)]
    pub(super) struct Mark {
        pub(super) metadata: MarkMetadata,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct MarkMetadata {
        pub(super) resource_version: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Status {
        #[serde(default)]
        pub(super) code: u16,
        #[serde(default)]
        pub(super) message: String,
    }
}

#[cfg(test)]
mod tests;
