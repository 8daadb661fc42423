//! What a List of very many Pods costs in memory, with a store that follows: a whole mesh may arrive as one file.
//!
//! A process of its own, since it looks at how much memory that ever had. 20,000 Pods; `PODS=200000` for the size the project
//! is designed for, `FORMAT=yaml` for the other format. Prints what it measures (`--nocapture`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::SystemTime;

use manifest::{FolderReader, Limits};
use model::Store;
use model::store::Facts;

/// Memory that the reading itself may use for a while: a chunk, an object, what waits to be handed on.
const WHILE_READING_MAX: usize = 8 << 20;
/// What the store and the reader may keep for each Pod, in bytes. What the decisions add is not seen here.
const BYTES_PER_POD_MAX: usize = 500;
/// What does not depend on the number of Pods.
const OVERHEAD_MAX: usize = 4 << 20;

#[test]
fn a_list_of_many_pods_is_never_in_memory_as_a_whole() {
    let pods: usize = std::env::var("PODS").map_or(20_000, |pods| pods.parse().unwrap());
    let is_yaml = std::env::var("FORMAT").is_ok_and(|format| format == "yaml");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(if is_yaml { "list.yaml" } else { "list.json" });
    write_list(&path, pods, is_yaml);
    let bytes = fs::metadata(&path).unwrap().len();

    let (mut reader, mut store) =
        (FolderReader::new(vec![path.clone()], Limits::default()), Store::new(Facts::default()));
    let before = status("VmRSS:");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let start = processor_time();
    let mut read = || reader.read(&mut |event| drop(store.apply(event)), &mut |_| {});
    let reading = read();
    let (seconds, after, peak) = (processor_time() - start, status("VmRSS:"), status("VmHWM:"));
    // Written to, with nothing new in it.
    fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let start = processor_time();
    let again = read();
    let (seconds_again, peak_again) = (processor_time() - start, status("VmHWM:"));

    let per_pod = (after - before).saturating_sub(OVERHEAD_MAX) / pods;
    println!(
        "{pods} Pods in {} MB: {seconds:.1} s of a processor, then {seconds_again:.1} s; {per_pod} bytes a Pod, \
         VmHWM {} MB, at the second reading {} MB, {} MB before",
        bytes >> 20,
        peak >> 20,
        peak_again >> 20,
        before >> 20
    );
    assert_eq!((reading.problems.len(), again.problems.len(), store.len()), (0, 0, pods));
    assert_eq!(store.revision(), pods as u64, "the second reading has nothing new");
    assert!(per_pod <= BYTES_PER_POD_MAX, "{per_pod} bytes a Pod");
    let peak = peak.max(peak_again) - before;
    assert!(
        peak <= pods * BYTES_PER_POD_MAX + OVERHEAD_MAX + WHILE_READING_MAX,
        "{peak} bytes for {pods} Pods of {bytes} bytes"
    );
}

/// Seconds that this thread had of a processor.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// A line of the process's status, in bytes.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// A List as `kubectl get pods --all-namespaces` prints it, with `kind` behind the items: 200 Pods in a namespace, of 20
/// deployments.
fn write_list(path: &Path, pods: usize, is_yaml: bool) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    let (head, between, tail) = match is_yaml {
        true => ("apiVersion: v1\nitems:\n", "", "kind: List\nmetadata:\n  resourceVersion: \"\"\n"),
        false => (
            "{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n",
            ",\n",
            "\n    ],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n",
        ),
    };
    let template = if is_yaml { YAML_POD } else { JSON_POD };
    file.write_all(head.as_bytes()).unwrap();
    for i in 0..pods {
        let pod = template
            .replace("{namespace}", &format!("team-{:04}", i / 200))
            .replace("{app}", &format!("service-{}", i / 10 % 20))
            .replace("{hash}", &format!("{:010x}", (i / 10).wrapping_mul(2_654_435_761) & 0xff_ffff_ffff))
            .replace("{id}", &format!("{:05x}", i & 0xf_ffff))
            .replace("{ip}", &format!("10.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255));
        file.write_all(if i == 0 { b"" } else { between.as_bytes() }).unwrap();
        file.write_all(pod.as_bytes()).unwrap();
    }
    file.write_all(tail.as_bytes()).unwrap();
}

const JSON_POD: &str = r#"        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "annotations": {"kubectl.kubernetes.io/restartedAt": "2024-01-31T12:00:00Z"},
                "creationTimestamp": "2024-01-31T12:00:00Z",
                "generateName": "{app}-{hash}-",
                "labels": {
                    "app": "{app}",
                    "istio.io/dataplane-mode": "ambient",
                    "pod-template-hash": "{hash}",
                    "version": "v1"
                },
                "name": "{app}-{hash}-{id}",
                "namespace": "{namespace}",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "{app}-{hash}"}]
            },
            "spec": {
                "containers": [
                    {
                        "image": "registry.example/{app}:1.2.3",
                        "name": "{app}",
                        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}]
                    }
                ],
                "nodeName": "node-7",
                "serviceAccountName": "{app}"
            },
            "status": {
                "conditions": [{"lastTransitionTime": "2024-01-31T12:00:00Z", "status": "True", "type": "Ready"}],
                "phase": "Running",
                "podIP": "{ip}",
                "podIPs": [
                    {"ip": "{ip}"}
                ]
            }
        }"#;

const YAML_POD: &str = r#"- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      kubectl.kubernetes.io/restartedAt: "2024-01-31T12:00:00Z"
    creationTimestamp: "2024-01-31T12:00:00Z"
    generateName: {app}-{hash}-
    labels:
      app: {app}
      istio.io/dataplane-mode: ambient
      pod-template-hash: "{hash}"
      version: v1
    name: {app}-{hash}-{id}
    namespace: {namespace}
    ownerReferences:
    - apiVersion: apps/v1
      kind: ReplicaSet
      name: {app}-{hash}
  spec:
    containers:
    - image: registry.example/{app}:1.2.3
      name: {app}
      ports:
      - containerPort: 8080
        name: http
        protocol: TCP
    nodeName: node-7
    serviceAccountName: {app}
  status:
    conditions:
    - lastTransitionTime: "2024-01-31T12:00:00Z"
      status: "True"
      type: Ready
    phase: Running
    podIP: {ip}
    podIPs:
    - ip: {ip}
"#;
