//! What holds for any stream, whatever the client says and whatever becomes of the mesh, as a plain function: see
//! `bodies.rs`. The input is a list of steps; the client keeps book of what it asked for and what it has.

#![allow(clippy::panic, reason = "a panic is how a fuzz target says that something does not hold")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use xds::proto::authorization::Authorization;
use xds::proto::discovery::{DeltaDiscoveryRequest, Status};
use xds::proto::workload::{NetworkAddress, PortList, Service, Workload};
use xds::resource::{Key, NetworkIp, Resource, ResourceType, Resources, Snapshot, Stamp, bytes_of_ip};
use xds::session::{Limits, Response, Session};

/// Bounds that few steps reach. Names of resources keep within the length.
const LIMITS: Limits = Limits { names: 12, name_bytes: 16, response_bytes: 0 };

/// What is asked for: resources that may be there, addresses in more than one spelling, and what can never be there.
const NAMES: [&str; 16] = [
    "*",
    "c//Pod/n/0",
    "c//Pod/n/1",
    "c//Pod/n/2",
    "n/s0",
    "n/s1",
    "/10.0.0.0",
    "/10.0.0.1",
    "/::1",
    "/0::1",
    "n/p0",
    "nobody",
    "",
    "x/10.0.0.0",
    "//",
    "a name that is too long",
];

/// The first byte bounds responses; then steps until the input ends; then the client answers all there is.
pub(crate) fn session(data: &[u8]) {
    let mut input = Input(data);
    let mut stream = Stream::new(1 + usize::from(input.byte()));
    while !input.0.is_empty() {
        stream.step(&mut input);
        stream.receive();
    }
    stream.settle();
}

/// Bytes from the front; zeros behind the end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> &[u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Some of the names.
    fn names(&mut self) -> Vec<String> {
        let bits = u16::from_le_bytes([self.byte(), self.byte()]);
        let chosen = NAMES.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, name)| (*name).to_owned()).collect()
    }

    fn of(&mut self) -> ResourceType {
        if self.byte().is_multiple_of(3) { ResourceType::Authorization } else { ResourceType::Address }
    }
}

/// What a client asked for of a type.
#[derive(Debug, PartialEq)]
enum Wants {
    All,
    Names(BTreeSet<String>),
}

/// The client's book of a type.
#[derive(Default)]
struct Book {
    /// Name and version.
    has: BTreeMap<String, String>,
    /// None until it asked, on this stream.
    wants: Option<Wants>,
    under_way: Option<Response>,
    /// It asked for everything again, and is sent what it has once more.
    again: bool,
}

struct Stream {
    limits: Limits,
    session: Session,
    newest: Snapshot,
    books: BTreeMap<ResourceType, Book>,
    nonces: BTreeSet<String>,
}

impl Stream {
    fn new(response_bytes: usize) -> Self {
        let limits = Limits { response_bytes, ..LIMITS };
        let books = ResourceType::ALL.map(|of| (of, Book::default())).into();
        let newest = Snapshot { rules: 1, ..Snapshot::default() };
        Self { limits, session: Session::new(limits), newest, books, nonces: BTreeSet::new() }
    }

    fn book(&mut self, of: ResourceType) -> &mut Book {
        self.books.entry(of).or_default()
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 8 {
            0 | 1 => self.put(input.byte(), input.byte()),
            2 => self.remove(input.byte()),
            3 => self.answer(input.of(), None),
            4 => {
                let (of, message) = (input.of(), String::from_utf8_lossy(input.bytes()).into_owned());
                self.answer(of, Some(message));
            }
            5 => {
                if let Ok(mut request) = DeltaDiscoveryRequest::decode(input.bytes()) {
                    if request.type_url.len() < 2 {
                        request.type_url = input.of().url().into();
                    }
                    self.request(request);
                }
            }
            6 => {
                let type_url = input.of().url().into();
                let (resource_names_subscribe, resource_names_unsubscribe) = (input.names(), input.names());
                let names =
                    DeltaDiscoveryRequest { resource_names_subscribe, type_url, ..DeltaDiscoveryRequest::default() };
                self.request(DeltaDiscoveryRequest { resource_names_unsubscribe, ..names });
            }
            _ => self.reconnect(input.byte()),
        }
    }

    fn put(&mut self, name: u8, shape: u8) {
        let (name, ip) = (name % 8, bytes_of_ip([10, 0, 0, shape % 3].into()));
        let ip = if shape % 4 == 3 { bytes_of_ip(std::net::Ipv6Addr::LOCALHOST.into()) } else { ip };
        let resource = match name {
            0..3 => {
                // As in any mesh: of the services that there are.
                let services = (0..2).filter(|at| shape >> (4 + at) & 1 == 1).map(|at| format!("n/s{at}"));
                let services = services.filter(|it| self.newest.addresses.get(it).is_some());
                let services = services.map(|it| (it, PortList::default())).collect();
                let uid = format!("c//Pod/n/{name}");
                Resource::workload(
                    Workload { uid, services, addresses: vec![ip], ..Workload::default() },
                    Stamp::default(),
                )
            }
            3..5 => {
                let addresses = vec![NetworkAddress { address: ip, ..NetworkAddress::default() }];
                let (namespace, hostname) = ("n".to_owned(), format!("s{}", name - 3));
                let service = Service { namespace, hostname, addresses, name: shape.to_string(), ..Service::default() };
                Resource::service(service, Stamp::default())
            }
            _ => {
                let (namespace, name) = ("n".to_owned(), format!("p{}", name - 5));
                let policy = Authorization { namespace, name, action: i32::from(shape), ..Authorization::default() };
                self.newest.authorizations.put(Resource::authorization(&policy));
                return;
            }
        };
        self.newest.addresses.put(resource);
    }

    fn remove(&mut self, name: u8) {
        match name % 8 {
            name @ 0..3 => self.newest.addresses.remove(&format!("c//Pod/n/{name}")),
            name @ 3..5 => self.newest.addresses.remove(&format!("n/s{}", name - 3)),
            name => self.newest.authorizations.remove(&format!("n/p{}", name - 5)),
        };
    }

    /// Answers what is under way, if anything is.
    fn answer(&mut self, of: ResourceType, error: Option<String>) {
        let Some(response) = &self.book(of).under_way else { return };
        let response_nonce = response.nonce.clone();
        let error_detail = error.map(|message| Status { code: 0, message });
        let type_url = of.url().to_owned();
        self.request(DeltaDiscoveryRequest {
            type_url,
            response_nonce,
            error_detail,
            ..DeltaDiscoveryRequest::default()
        });
    }

    /// A new stream of a client that kept what it has.
    fn reconnect(&mut self, how: u8) {
        self.session = Session::new(self.limits);
        self.nonces.clear();
        for book in self.books.values_mut() {
            *book = Book { has: std::mem::take(&mut book.has), ..Book::default() };
        }
        for (at, of) in ResourceType::ALL.into_iter().enumerate() {
            let mut request =
                DeltaDiscoveryRequest { type_url: of.url().to_owned(), ..DeltaDiscoveryRequest::default() };
            if how >> (2 * at) & 1 == 1 {
                request.resource_names_subscribe.push("*".into());
                request.resource_names_unsubscribe.push("*".into());
            }
            if how >> (2 * at) & 2 == 0 {
                request.initial_resource_versions = self.book(of).has.clone();
                self.request(request);
            }
        }
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) {
        let taken = self.session.request(request.clone());
        let Some(of) = ResourceType::of_url(&request.type_url) else {
            assert!(taken.is_ok_and(|it| !it.answered && !it.stale), "a type that is not known");
            return;
        };
        let book = self.books.entry(of).or_default();
        let answered = book.under_way.take_if(|it| it.nonce == request.response_nonce);
        book.ask(&request);
        let names =
            |book: &Book| if let Some(Wants::Names(names)) = &book.wants { names.clone() } else { BTreeSet::new() };
        let names: Vec<_> = self.books.values().map(names).collect();
        let is_long = |name: &String| name.len() > LIMITS.name_bytes;
        let Ok(taken) = taken else {
            // Of what is asked for alone: one more, or one that is too long.
            let count = names.iter().map(BTreeSet::len).sum::<usize>() + request.resource_names_subscribe.len();
            assert!(
                count > LIMITS.names
                    || request.resource_names_subscribe.iter().any(is_long)
                    || names.iter().flatten().any(is_long)
            );
            return self.reconnect(0xff);
        };
        assert!(names.iter().map(BTreeSet::len).sum::<usize>() <= LIMITS.names, "{names:?}");
        assert!(!names.iter().flatten().any(is_long), "{names:?}");
        assert_eq!(taken.answered, answered.is_some());
        assert_eq!(taken.stale, answered.is_none() && !request.response_nonce.is_empty());
        assert_eq!(taken.rejected.is_empty(), !taken.answered || request.error_detail.is_none());
        if let Some(response) = answered {
            self.book(of).take(&response);
        }
    }

    /// Takes up what there is to be sent now.
    fn receive(&mut self) -> bool {
        let mut any = false;
        while let Some(response) = self.session.next(&self.newest) {
            any = true;
            assert!(self.nonces.insert(response.nonce.clone()), "a nonce twice");
            let limit = self.limits.response_bytes;
            let book = self.books.entry(response.of).or_default();
            assert!(book.wants.is_some(), "nobody asked");
            let sizes: Vec<usize> =
                response.resources.iter().map(|it| it.name.len() + it.resource.body().len()).collect();
            assert!(sizes.len() < 2 || sizes.iter().sum::<usize>() <= limit, "{sizes:?} in {limit}");
            for sent in &response.resources {
                assert!(!response.removed.contains(&sent.name), "{} is there and is not", sent.name);
                let version = sent.resource.version().to_string();
                let had = book.wants == Some(Wants::All) && !book.again && book.has.get(&*sent.name) == Some(&version);
                assert!(!had, "it had {} already", sent.name);
            }
            assert!(book.under_way.replace(response).is_none(), "two under way");
        }
        let waits = self.books.values().any(|it| it.under_way.is_some());
        assert_eq!(self.session.is_waiting(), waits);
        any
    }

    fn settle(&mut self) {
        // Each round takes at least one resource of each type out of the queue.
        for _ in 0..1000 {
            ResourceType::ALL.into_iter().for_each(|of| self.answer(of, None));
            if !self.receive() {
                break;
            }
        }
        assert_eq!(self.session.is_current(&self.newest), self.books.values().any(|it| it.wants.is_some()));
        for (of, book) in &self.books {
            book.is_like(self.newest.of(*of));
        }
    }
}

impl Book {
    fn ask(&mut self, request: &DeltaDiscoveryRequest) {
        let (subscribe, unsubscribe) = (&request.resource_names_subscribe, &request.resource_names_unsubscribe);
        let wildcard = subscribe.iter().any(|it| it == "*");
        let is_first = self.wants.is_none();
        if is_first {
            let all = subscribe.is_empty() || wildcard && unsubscribe.is_empty();
            let names = || Wants::Names(request.initial_resource_versions.keys().cloned().collect());
            self.wants = Some(if all { Wants::All } else { names() });
            // Whatever it has: this is what it says that it has.
            self.has.clone_from(&request.initial_resource_versions);
        }
        let Some(wants) = &mut self.wants else { return };
        for name in unsubscribe {
            match wants {
                // It lets go of everything.
                Wants::All if name == "*" => {
                    *wants = Wants::Names(BTreeSet::new());
                    self.has.clear();
                }
                Wants::All => {}
                Wants::Names(names) => drop(names.remove(name)),
            }
        }
        for name in subscribe {
            match wants {
                _ if name == "*" && is_first => {}
                _ if name == "*" => {
                    // Who asks for everything after this and that starts afresh.
                    if *wants != Wants::All {
                        self.has.clear();
                    }
                    *wants = Wants::All;
                    self.again = true;
                }
                Wants::All => {}
                Wants::Names(names) => drop(names.insert(name.clone())),
            }
        }
    }

    fn take(&mut self, response: &Response) {
        for sent in &response.resources {
            self.has.insert(sent.name.to_string(), sent.resource.version().to_string());
        }
        for name in &response.removed {
            self.has.remove(&**name);
        }
    }

    /// Whether it has what it asked for, as it is now, and nothing of it that is gone.
    fn is_like(&self, newest: &Resources) {
        let version = |it: &Arc<Resource>| (it.name().to_string(), it.version().to_string());
        match &self.wants {
            None => {}
            Some(Wants::All) => {
                // What is under way when it asks for everything may still bear the address that it asked for before.
                let own = self.has.iter().filter(|(name, _)| NetworkIp::parse(name).is_none());
                let own: BTreeMap<_, _> = own.map(|(name, version)| (name.clone(), version.clone())).collect();
                assert_eq!(own, newest.by_name().values().map(version).collect());
            }
            Some(Wants::Names(names)) => {
                for name in names {
                    let at = NetworkIp::parse(name).map(|ip| newest.at(&Key::Ip(ip)).cloned().collect::<Vec<_>>());
                    let found = at.into_iter().flatten().filter_map(|name| newest.get(&name)).chain(newest.get(name));
                    let behind =
                        |it: &Arc<Resource>| newest.at(&Key::Service(Arc::clone(it.name()))).cloned().collect();
                    let found: Vec<_> = found.cloned().collect();
                    let behind: BTreeSet<Arc<str>> =
                        found.iter().flat_map(|it| -> Vec<Arc<str>> { behind(it) }).collect();
                    for resource in found.iter().chain(behind.iter().filter_map(|name| newest.get(name))) {
                        let (name, version) = version(resource);
                        assert_eq!(self.has.get(&name), Some(&version), "{name}");
                    }
                    let is_gone = NetworkIp::parse(name).is_none() && newest.get(name).is_none();
                    assert!(!is_gone || !self.has.contains_key(name), "{name} is gone");
                }
            }
        }
    }
}
