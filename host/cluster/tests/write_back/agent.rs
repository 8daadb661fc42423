//! An agent reduced to what leads and writes back: on a thread of its own, as in the binary, so that it can be held up as a whole.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use apiserver::ApiServer;
use cluster::connect::{Access, Cluster};
use cluster::feed::{Decisions, Feed};
use cluster::leader::{Candidate, Leadership, campaign};
use cluster::write_back::{self, Config, Seen};
use model::decision::{Decision, Target};
use model::description::{Description, Fields, Reach};
use model::gateway::GatewayKey;
use model::projection::project;
use model::{Event, Facts, Meta, Object, Row, Service, Store, Table};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a lease is here.
const LEASE: Duration = Duration::from_secs(3);

/// Everything is to be there within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let _twice = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

pub(crate) async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "{caller}: not so within {PATIENCE:?}: {what}");
            pause(0.01).await;
        }
    }
}

pub(crate) async fn connect(server: &ApiServer, token: &str) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    server.write_kubeconfig(&path, Some(token)).unwrap();
    Cluster::connect(&Access { kubeconfig: Some(path), ..Access::default() }).await.unwrap()
}

/// Services of namespace `shop`, by name.
pub(crate) struct Mesh {
    pub(crate) services: Vec<String>,
    store: Store,
}

/// What is decided for all of them.
#[derive(Clone, Copy)]
pub(crate) enum Choice {
    Through(&'static str),
    Direct,
}

impl Mesh {
    pub(crate) fn of(services: usize) -> Self {
        let services: Vec<String> = (0..services).map(|at| format!("s{at}")).collect();
        let mut store = Store::new(Facts::default());
        for name in &services {
            let meta = Meta::named("shop", name);
            let addresses = [[10, 0, 0, 1].into()].into();
            store.apply(Event::Apply(Object::Service(Service { meta, addresses, ..Service::named("shop", name) })));
        }
        Self { services, store }
    }

    pub(crate) fn label(&mut self, name: &str, waypoint: &str) {
        let labels = [("istio.io/use-waypoint", waypoint)].into_iter().collect();
        let meta = Meta { labels, ..Meta::named("shop", name) };
        let service = Service { meta, addresses: [[10, 0, 0, 1].into()].into(), ..Service::named("shop", name) };
        self.store.apply(Event::Apply(Object::Service(service)));
    }

    fn decided(&self, choice: Choice) -> Decisions {
        let decision = Arc::new(match choice {
            Choice::Direct => Decision::without_waypoint(model::decision::Choice::Direct, None),
            Choice::Through(name) => {
                let gateway = GatewayKey::new("shop", name);
                let address = Some(model::decision::WaypointAddress::Hostname("w.shop".into()));
                let target = Target { gateway, address, dial: Vec::new(), weight: 100 };
                let choice = model::decision::Choice::Waypoints([target].into());
                Decision::without_waypoint(choice, Some("WaypointAccepted"))
            }
        });
        let description = Arc::new(Description {
            name: "test".into(),
            version: "1".into(),
            reads: Vec::new(),
            fields: Fields::default(),
            references: Vec::new(),
            reach: Reach::Referenced,
        });
        let mut table = Table::new(1, self.store.revision());
        for (key, projected) in project(&description, &self.store) {
            let (subject, input, decision) = (projected.subject, projected.input, Arc::clone(&decision));
            table.set(key, Some(Row { subject, input, decision, revision: 1, degraded: None }));
        }
        Decisions { store: self.store.clone(), table, is_for_all: true }
    }
}

pub(crate) struct Agent {
    feed: Feed,
    leadership: Leadership,
    seen: watch::Receiver<Arc<Seen>>,
    stop: Option<oneshot::Sender<()>>,
    held_up: mpsc::UnboundedSender<(Duration, oneshot::Sender<()>)>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn start(server: &ApiServer, user: &'static str, config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        server.write_kubeconfig(&path, Some(user)).unwrap();
        let feed = Feed::new(&config.kinds());
        let leadership = Leadership::default();
        let (sender, seen) = watch::channel(Arc::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (held_up, mut hold) = mpsc::unbounded_channel::<(Duration, oneshot::Sender<()>)>();
        let (of_thread, leading) = (feed.clone(), leadership.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let access = Access { kubeconfig: Some(path), ..Access::default() };
                let cluster = Cluster::connect(&access).await.unwrap();
                drop(folder);
                let candidate = Candidate {
                    namespace: "wayswitch-system".to_owned(),
                    lease: "wayswitch-leader".to_owned(),
                    name: user.to_owned(),
                    lease_time: LEASE,
                };
                tokio::spawn(async move {
                    while let Some((time, done)) = hold.recv().await {
                        std::thread::sleep(time);
                        let _gone = done.send(());
                    }
                });
                let stop = async { drop(stopped.await) };
                tokio::select! {
                    () = campaign(&cluster, &candidate, &leading, stop) => {}
                    () = write_back::run(&cluster, config, &leading, &of_thread, &sender) => {}
                }
            });
        });
        Self { feed, leadership, seen, stop: Some(stop), held_up, thread: Some(thread) }
    }

    pub(crate) fn decide(&self, mesh: &Mesh, choice: Choice) {
        self.feed.replace(mesh.decided(choice));
    }

    pub(crate) fn leads(&self) -> bool {
        self.leadership.may_write()
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.borrow())
    }

    /// Nothing of it runs for this time.
    pub(crate) fn hold(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let (done, over) = oneshot::channel();
        self.held_up.send((time, done)).unwrap();
        async { over.await.unwrap() }
    }

    /// As at SIGTERM.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}
