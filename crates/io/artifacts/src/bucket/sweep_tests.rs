//! Buckets that others share: what is found, what goes, and what never does.

use super::fake::Trouble;
use super::sweep::{Listed, Own};
use super::tests::{World, keys};
use super::*;
use crate::Store;
use std::collections::BTreeMap;
use tokio::task::spawn_blocking;

const OURS: &str = "11111111-1111-4111-8111-111111111111";
const PREFIX: &str = "p/q/namespaces/ns/runs";

fn uid(number: usize) -> String {
    format!("{number:08x}-1111-4111-8111-111111111111")
}

impl World {
    /// Somebody's object: of this cluster and this Run, as it says.
    fn put(&self, key: &str, cluster: Option<&str>, run_uid: &str) {
        let mut headers = BTreeMap::new();
        headers.insert("x-amz-meta-kruntimes-run-uid".to_owned(), run_uid.to_owned());
        let cluster = cluster.map(str::to_owned);
        headers.extend(cluster.map(|uid| ("x-amz-meta-kruntimes-cluster".to_owned(), uid)));
        self.fake.look(|state| state.objects.insert(key.to_owned(), (b"1".to_vec(), headers)));
    }

    async fn listed(&self, from: Option<&str>, pages: usize) -> Listed {
        let (bucket, from) = (self.bucket.clone(), from.map(str::to_owned));
        let listing = move || bucket.runs("ns", from.as_deref(), pages, &Stop::default());
        spawn_blocking(listing).await.unwrap().unwrap()
    }

    async fn removed(&self, run_uid: &str) -> Own {
        let (bucket, run_uid) = (self.bucket.clone(), run_uid.to_owned());
        let removing = move || bucket.remove_own(Place::of("ns", &run_uid), &Stop::default());
        spawn_blocking(removing).await.unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_bucket_is_looked_through_in_stretches_for_uids_alone() {
    let world = World::start().await;
    let runs: Vec<String> = (0..7).map(uid).collect();
    for run in &runs {
        world.put(&format!("{PREFIX}/{run}/a"), None, run);
        world.put(&format!("{PREFIX}/{run}/b"), None, run);
    }
    for other in ["x", "../y", "0/a", "00000003/a", &format!("{}/a", uid(3).to_uppercase())] {
        world.put(&format!("{PREFIX}/{other}").replace("/../", "/"), None, "");
    }
    world.put(&format!("p/q/namespaces/other/runs/{OURS}/a"), None, "");
    world.put(&format!("p/q/logs/namespaces/ns/runs/{OURS}/1"), None, "");
    world.put("report.pdf", None, "");
    let all = world.listed(None, 100).await;
    assert_eq!(all, Listed { run_uids: runs.iter().cloned().collect(), next: None });
    // Two keys a page: three stretches of two pages each.
    let (mut from, mut stretches) = (None, Vec::new());
    loop {
        let listed = world.listed(from.as_deref(), 2).await;
        stretches.push(listed.run_uids);
        from = listed.next;
        if from.is_none() {
            break;
        }
    }
    assert!(stretches.len() >= 3 && stretches.iter().all(|uids| uids.len() <= 4), "{stretches:?}");
    assert_eq!(stretches.concat_all(), runs);
    let logs = world.bucket.logs();
    let listing = move || logs.runs("ns", None, 1, &Stop::default());
    let listed = spawn_blocking(listing).await.unwrap().unwrap();
    assert_eq!(listed.run_uids, BTreeSet::from([OURS.to_owned()]));
}

trait Concat {
    fn concat_all(&self) -> Vec<String>;
}

impl Concat for Vec<BTreeSet<String>> {
    fn concat_all(&self) -> Vec<String> {
        self.iter().flatten().cloned().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_says_that_it_is_of_this_cluster_and_run_is_removed() {
    let world = World::start().await;
    let own = format!("{PREFIX}/{OURS}");
    world.put(&format!("{own}/ours"), Some("c"), OURS);
    world.put(&format!("{own}/ours-too"), Some("c"), OURS);
    let others = [
        (format!("{own}/of-another-cluster"), Some("d"), OURS),
        (format!("{own}/of-nobody"), None, OURS),
        (format!("{own}/of-another-run"), Some("c"), "u"),
        (format!("{own}/deeper/f"), Some("c"), OURS),
        (format!("{own}0/f"), Some("c"), OURS),
        (format!("{own}.txt"), Some("c"), OURS),
    ];
    for (key, cluster, run_uid) in &others {
        world.put(key, *cluster, run_uid);
    }
    assert_eq!(world.removed(OURS).await, Own { removed: 2, others: 4 });
    let mut stay: Vec<String> = others.iter().map(|(key, ..)| key.clone()).collect();
    stay.sort();
    assert_eq!(world.objects(), stay);
    assert_eq!(world.removed(OURS).await, Own { removed: 0, others: 4 });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_says_of_which_cluster_it_is() {
    let world = World::start().await;
    // Of one part, and of several.
    world.leave("f", b"1");
    world.leave("g", &vec![7; 6 << 20]);
    world.keep(&Stop::default()).await.unwrap();
    assert_eq!(world.removed("u-1").await, Own { removed: 2, others: 0 });
    assert!(world.objects().is_empty(), "{:?}", world.objects());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_its_cluster_removes_nothing() {
    let mut world = World::start().await;
    world.bucket.cluster = None;
    world.put(&format!("{PREFIX}/{OURS}/f"), None, OURS);
    assert_eq!(world.removed(OURS).await, Own::default());
    assert_eq!(world.objects().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_is_no_empty_one_and_one_that_is_gone_is() {
    let world = World::start().await;
    let ask = |world: &World| {
        let bucket = world.bucket.clone();
        spawn_blocking(move || bucket.runs("ns", None, 1, &Stop::default()))
    };
    world.fake.look(|state| state.trouble = Trouble::Refuses(404, "NoSuchBucket"));
    assert_eq!(ask(&world).await.unwrap().unwrap().run_uids, BTreeSet::new());
    world.fake.look(|state| state.trouble = Trouble::Refuses(403, "AccessDenied"));
    assert!(ask(&world).await.unwrap().unwrap_err().to_string().contains("AccessDenied"));
    let store = Store::bucket(&S3Store::default(), keys(), None);
    assert!(matches!(store, Store::Bucket(bucket) if !bucket.marks()));
}
