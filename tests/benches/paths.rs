//! The paths that every change of the mesh or of the rules takes, one criterion benchmark each, so that a change of the
//! code can be compared with a saved baseline (`-- --save-baseline NAME`, then `-- --baseline NAME`).
//!
//! Comparisons of two sides, whole swaps and the kernel are in the benches beside it: these take turns and measure the
//! processor's time, which criterion does not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot go on should stop where it is")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use engine::{Engine, Limits};
use model::batch::Batch;
use model::input::{Input, Shared};
use model::projection::{node_input, project};
use model::store::Event;
use model::{Decider, Resolver, Store};
use tests::candidate::{artifact, numbered, terms};
use tests::mesh::manifests::manifest;
use tests::mesh::{MeshSize, pod, store};

const SEED: u64 = 1;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let engine = Engine::new(Limits::default()).unwrap();
    let bytes = artifact("istio").unwrap();
    let component = engine.load(&bytes, None, "", engine.limits()).unwrap();
    let objects: Vec<model::Object> = MeshSize::MEDIUM.objects(SEED).collect();

    let text = objects.iter().map(|object| manifest(object).to_string()).collect::<Vec<_>>().join("\n---\n");
    let mut group = criterion.benchmark_group("manifest");
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("read", |b| {
        b.iter(|| {
            let mut found = 0;
            let mut each = |_| found += 1;
            manifest::read_text(
                &"mesh.yaml".into(),
                &text,
                manifest::Format::Yaml,
                &manifest::Limits::default(),
                &mut each,
            );
            black_box(found)
        });
    });
    group.finish();

    let mesh = store(objects);
    let description = component.description();
    let node = node_input(description, mesh.facts());
    let mut inputs: Vec<Shared<Input>> = project(description, &mesh).into_values().map(|row| row.input).collect();
    let mut seen = std::collections::HashSet::new();
    inputs.retain(|input| seen.insert(input.clone()));

    let mut group = criterion.benchmark_group("engine");
    for rows in [1, inputs.len().min(256)] {
        let batch = Batch::new("", &node, inputs.get(..rows).unwrap_or(&inputs));
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("resolve/{rows}"), |b| b.iter(|| component.resolve(black_box(&batch)).unwrap()));
    }
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
    group.bench_function("load again", |b| {
        b.iter(|| engine.load(black_box(&bytes), None, "", engine.limits()).unwrap())
    });
    let mut numbers = 0..;
    let mut next = || numbered(&bytes, numbers.next().unwrap());
    group.bench_function("load", |b| b.iter(|| engine.load(black_box(&next()), None, "", engine.limits()).unwrap()));
    group.finish();

    let resolver: Arc<dyn Resolver> = component.clone();
    let decide = |mesh: &Store| {
        Decider::new(1, Arc::clone(description), Arc::clone(&resolver), terms(""), mesh)
            .unwrap_or_else(|(_, e)| panic!("{e}"))
    };
    let mut group = criterion.benchmark_group("decider");
    group.sample_size(20).throughput(Throughput::Elements(mesh.row_keys().count() as u64));
    group.bench_function("everything", |b| b.iter(|| decide(black_box(&mesh))));
    group.throughput(Throughput::Elements(1));
    let (mut mesh, mut decider, mut n) = (mesh.clone(), decide(&mesh), 0_u8);
    group.bench_function("one pod moves", |b| {
        b.iter_batched(
            || {
                n = n.wrapping_add(1);
                Event::Apply(pod("team-0000", "bench").address(&format!("10.255.0.{n}")).into())
            },
            |event| {
                let changes = mesh.apply(event);
                decider.apply(&mesh, &changes)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
    criterion.final_summary();
}
