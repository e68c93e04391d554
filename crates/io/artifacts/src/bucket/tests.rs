//! What a bucket gets, byte by byte, and what becomes of an artifact when it fails.

use super::fake::{BUCKET, Fake, KEY_ID, Trouble};
use super::*;
use crate::{Found, Store, survey};
use kruntimes_rules::artifact::Kept;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use tokio::task::spawn_blocking;

const MIB: usize = 1 << 20;
const PLACE: Place<'_> = Place { namespace: "ns", run_uid: "u-1", run_name: "r", runtime: "bash" };
const OWN: &str = "p/q/namespaces/ns/runs/u-1";

pub(super) fn keys() -> Credentials {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Credentials::Variables(BTreeMap::from([
        pair("AWS_ACCESS_KEY_ID", KEY_ID),
        pair("AWS_SECRET_ACCESS_KEY", "secret"),
    ]))
}

pub(super) struct World {
    pub(super) fake: Fake,
    pub(super) bucket: Bucket,
    left: tempfile::TempDir,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::of(|store| store, keys()).await
    }

    async fn of(change: impl FnOnce(S3Store) -> S3Store, credentials: Credentials) -> Self {
        Self::within(Duration::from_secs(5), change, credentials).await
    }

    /// Requests have so long.
    async fn within(
        request: Duration,
        change: impl FnOnce(S3Store) -> S3Store,
        credentials: Credentials,
    ) -> Self {
        // Another test of this process may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let fake = Fake::start().await;
        let store = change(S3Store {
            bucket: BUCKET.to_owned(),
            prefix: Some("p/q".to_owned()),
            endpoint: Some(format!("http://{}", fake.address)),
            force_path_style: Some(true),
            ..S3Store::default()
        });
        let limits = Limits {
            request,
            retries_within: Duration::from_secs(5),
            whole: Duration::from_mins(10),
        };
        let bucket = Bucket::new(&store, credentials, limits, Some("c".to_owned()));
        Self { fake, bucket, left: tempfile::tempdir().unwrap() }
    }

    pub(super) fn leave(&self, name: &str, content: &[u8]) {
        std::fs::write(self.left.path().join(name), content).unwrap();
    }

    pub(super) async fn keep(&self, stop: &Stop) -> Result<Vec<Kept>, KeepError> {
        let (store, stop) = (Store::Bucket(self.bucket.clone()), stop.clone());
        let directory: OwnedFd = std::fs::File::open(self.left.path()).unwrap().into();
        let keeping = move || {
            let found: Vec<Found> = survey(&directory)?;
            found.iter().map(|one| crate::keep(&store, PLACE, &directory, one, &stop)).collect()
        };
        spawn_blocking(keeping).await.unwrap()
    }

    async fn refused(&self) -> String {
        let KeepError::Store { what, source } = self.keep(&Stop::default()).await.unwrap_err()
        else {
            panic!("the store is not said to have failed");
        };
        assert_eq!(what, UNWRITTEN);
        source.to_string()
    }

    async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let (store, name) = (Store::Bucket(self.bucket.clone()), name.to_owned());
        let reading = move || {
            let mut opened = store.open(PLACE, &name, &Stop::default())?;
            let mut content = Vec::new();
            opened.bytes.read_to_end(&mut content)?;
            assert_eq!(opened.size, content.len() as u64);
            Ok(content)
        };
        spawn_blocking(reading).await.unwrap()
    }

    async fn remove(&self) -> io::Result<()> {
        let bucket = self.bucket.clone();
        spawn_blocking(move || Store::Bucket(bucket).remove(PLACE, &Stop::default())).await.unwrap()
    }

    pub(super) fn objects(&self) -> Vec<String> {
        self.fake.look(|state| state.objects.keys().cloned().collect())
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 257) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_comes_back_and_a_part_is_the_limit_of_one_request() {
    for (length, parts) in
        [(0, 0), (1, 0), (5 * MIB - 1, 0), (5 * MIB, 0), (5 * MIB + 1, 2), (11 * MIB, 3)]
    {
        let world = World::start().await;
        let content = bytes(length);
        world.leave("f.txt", &content);
        let kept = world.keep(&Stop::default()).await.unwrap();
        let sha256: [u8; 32] = Sha256::digest(&content).into();
        assert_eq!((kept[0].size, kept[0].sha256), (length as u64, sha256), "{length}");
        assert_eq!(world.objects(), [format!("{OWN}/f.txt")]);
        let requests = world.fake.look(|state| std::mem::take(&mut state.requests));
        let sent = requests.iter().filter(|request| request.contains("partNumber=")).count();
        assert_eq!(sent, parts, "{length}: {requests:?}");
        assert!(world.read("f.txt").await.unwrap() == content, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_says_whose_an_artifact_is() {
    let world = World::start().await;
    world.leave("a b%ü.html", b"<html>");
    std::fs::create_dir(world.left.path().join("d")).unwrap();
    world.keep(&Stop::default()).await.unwrap();
    let headers = |name: &str| {
        world.fake.look(|state| {
            state.objects.iter().find(|(key, _)| key.ends_with(name)).unwrap().1.1.clone()
        })
    };
    let (file, directory) = (headers(".html"), headers("/d"));
    for (header, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-amz-meta-kruntimes-run-name", "r"),
        ("x-amz-meta-kruntimes-run-uid", "u-1"),
        ("x-amz-meta-kruntimes-namespace", "ns"),
        ("x-amz-meta-kruntimes-runtime", "bash"),
        ("x-amz-meta-kruntimes-artifact-name", "a b%25%C3%BC.html"),
        ("x-amz-meta-kruntimes-artifact-type", "file"),
    ] {
        assert_eq!(file.get(header).map(String::as_str), Some(value), "{header}");
    }
    assert_eq!(directory["content-type"], "application/gzip");
    assert_eq!(world.read("a b%ü.html").await.unwrap(), b"<html>");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_a_run_are_removed_and_nothing_of_others() {
    let world = World::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.leave(name, b"1");
    }
    world.keep(&Stop::default()).await.unwrap();
    let other = "p/q/namespaces/ns/runs/u-10/f".to_owned();
    world.fake.look(|state| state.objects.insert(other.clone(), Default::default()));
    assert_eq!(world.objects().len(), 6);
    let (bucket, names) = (world.bucket.clone(), BTreeSet::from(["b".to_owned(), "x".to_owned()]));
    spawn_blocking(move || bucket.retain(PLACE, &names, &Stop::default())).await.unwrap().unwrap();
    assert_eq!(world.objects(), [format!("{OWN}/b"), other.clone()]);
    world.remove().await.unwrap();
    assert_eq!(world.objects(), [other]);
    // Nothing is fine too.
    world.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_says_what_to_do_and_keeps_nothing() {
    for (trouble, expected) in [
        (Trouble::Refuses(404, "NoSuchBucket"), "the bucket b does not exist: create it"),
        (
            Trouble::Refuses(403, "InvalidAccessKeyId"),
            "refuses the credentials (InvalidAccessKeyId: said by the store)",
        ),
        (Trouble::Refuses(401, "Unauthorized"), "refuses the credentials"),
        (
            Trouble::Refuses(507, "XMinioStorageFull"),
            "can't be used: XMinioStorageFull: said by the store",
        ),
        (Trouble::Refuses(503, "SlowDown"), "can't be used: SlowDown: said by the store"),
        (Trouble::PartsFrom(2), "can't be used: SlowDown: said by the store"),
        (Trouble::Truncates, "it does not keep what it is given"),
    ] {
        let world = World::start().await;
        world.leave("f", &bytes(11 * MIB));
        world.fake.look(|state| state.trouble = trouble);
        let said = world.refused().await;
        assert!(said.contains(expected), "{trouble:?}: {said}");
        world.fake.look(|state| assert!(state.uploads.is_empty(), "{trouble:?}: {state:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_a_while_is_asked_again() {
    let world = World::start().await;
    world.leave("f", b"1");
    world.fake.look(|state| state.trouble = Trouble::Busy(3));
    world.keep(&Stop::default()).await.unwrap();
    assert_eq!(world.read("f").await.unwrap(), b"1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_or_silent_is_not_waited_for() {
    let world = World::start().await;
    world.leave("f", b"1");
    world.fake.look(|state| state.trouble = Trouble::Silent("PUT"));
    let said = world.refused().await;
    assert!(said.contains("timed out"), "{said}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = move |store| S3Store { endpoint: Some(format!("http://{free}")), ..store };
    let world = World::of(nobody, keys()).await;
    world.leave("f", b"1");
    let said = world.refused().await;
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_stop_waits_for_no_answer_and_leaves_nothing() {
    for length in [1, 11 * MIB] {
        let world = World::within(Duration::from_mins(10), |store| store, keys()).await;
        world.leave("f", &bytes(length));
        world.fake.look(|state| state.trouble = Trouble::Silent("PUT"));
        let fake = world.fake.clone();
        // Asked again and again: it is fired once a request is on its way.
        let sends = |request: &String| request.starts_with("PUT");
        let stop = Stop::unless(move || !fake.look(|state| state.requests.iter().any(sends)));
        let keeping = tokio::time::timeout(Duration::from_secs(60), world.keep(&stop));
        assert!(matches!(keeping.await.unwrap(), Err(KeepError::Stopped)), "{length}");
        world.fake.look(|state| assert!(state.objects.is_empty() && state.uploads.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_stop_waits_for_no_list_and_no_object() {
    let world = World::within(Duration::from_mins(10), |store| store, keys()).await;
    world.leave("f", &bytes(3));
    world.keep(&Stop::default()).await.unwrap();
    let soon = || Stop::within(Duration::from_millis(100));
    for method in ["HEAD", "GET"] {
        world.fake.look(|state| state.trouble = Trouble::Silent(method));
        let store = Store::Bucket(world.bucket.clone());
        let asked = spawn_blocking(move || {
            let opened = store.open(PLACE, "f", &soon());
            let read = opened.and_then(|mut opened| opened.bytes.read(&mut [0; 1]));
            // A removal begins with a list, which is a GET.
            (read.is_err(), method == "HEAD" || store.remove(PLACE, &soon()).is_err())
        });
        let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
        assert_eq!(asked.unwrap().unwrap(), (true, true), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_sent_a_few_at_once() {
    for at_once in [1, 3] {
        let change = |store| S3Store { upload_concurrency: Some(at_once), ..store };
        let world = World::of(change, keys()).await;
        world.leave("f", &bytes(31 * MIB));
        world.fake.look(|state| state.trouble = Trouble::Waits(at_once as usize));
        world.keep(&Stop::default()).await.unwrap();
        let seen = world.fake.look(|state| state.parts_at_once);
        assert_eq!(seen, at_once as usize);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_files_that_may_change_and_are_missed_by_name() {
    let secret = tempfile::tempdir().unwrap();
    let files = Credentials::Files("keys".to_owned(), secret.path().to_owned());
    let world = World::of(|store| store, files).await;
    world.leave("f", b"1");
    let said = world.refused().await;
    assert!(
        said.contains("the Secret keys of") && said.contains("no key AWS_ACCESS_KEY_ID"),
        "{said}"
    );
    let data = secret.path().join("..data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("AWS_ACCESS_KEY_ID"), "wrong").unwrap();
    let said = world.refused().await;
    assert!(said.contains("no key AWS_SECRET_ACCESS_KEY"), "{said}");
    std::fs::write(data.join("AWS_SECRET_ACCESS_KEY"), "s\n").unwrap();
    let said = world.refused().await;
    assert!(said.contains("refuses the credentials (AccessDenied"), "{said}");
    std::fs::write(data.join("AWS_ACCESS_KEY_ID"), KEY_ID).unwrap();
    world.keep(&Stop::default()).await.unwrap();
    let none = World::of(|store| store, Credentials::Variables(BTreeMap::new())).await;
    none.leave("f", b"1");
    assert!(
        none.refused().await.contains("there are no credentials for the bucket: name a Secret")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_is_gone_keeps_no_other_from_removal_and_a_name_is_no_answer() {
    let world = World::start().await;
    for name in ["NoSuchBucket", "b", "c"] {
        world.leave(name, b"1");
    }
    world.keep(&Stop::default()).await.unwrap();
    world.fake.look(|state| state.trouble = Trouble::Deletions(403));
    world.remove().await.unwrap_err();
    assert_eq!(world.objects().len(), 3);
    world.fake.look(|state| state.trouble = Trouble::Deletions(404));
    world.remove().await.unwrap();
    assert!(world.objects().is_empty(), "{:?}", world.objects());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_holds_nothing_and_one_that_refuses_may() {
    let world = World::start().await;
    world.fake.look(|state| state.trouble = Trouble::Refuses(404, "NoSuchBucket"));
    world.remove().await.unwrap();
    world.fake.look(|state| state.trouble = Trouble::Refuses(403, "AccessDenied"));
    let said = world.remove().await.unwrap_err().to_string();
    assert!(said.contains("refuses the credentials (AccessDenied: said by the store)"), "{said}");
}

#[test]
fn the_end_of_the_callers_executor_harms_no_request() {
    let builder = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // The server outlives the caller.
    let server = builder();
    let world = server.block_on(World::start());
    world.leave("f", b"1");
    world.fake.look(|state| state.trouble = Trouble::Silent("PUT"));
    let caller = builder();
    let (ended, end) = std::sync::mpsc::channel();
    let (store, directory) = (Store::Bucket(world.bucket.clone()), world.left.path().to_owned());
    caller.spawn_blocking(move || {
        let directory: OwnedFd = std::fs::File::open(directory).unwrap().into();
        let found = survey(&directory).unwrap();
        let kept = crate::keep(&store, PLACE, &directory, &found[0], &Stop::default());
        ended.send(kept.unwrap_err().to_string()).unwrap();
    });
    while world.fake.look(|state| state.requests.is_empty()) {
        std::thread::yield_now();
    }
    caller.shutdown_background();
    assert_eq!(end.recv_timeout(Duration::from_secs(60)).unwrap(), UNWRITTEN);
}
