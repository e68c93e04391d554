//! The store on a file that has no room, or whose fsync fails.
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use redb::StorageBackend;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::disk::{Disk, Opener};
use crate::{ApiServer, Options, User};

const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// A file in memory that outlives its openings, with faults.
#[derive(Debug, Clone, Default)]
struct Faulty(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    /// How many more writes find room; negative: all.
    room: AtomicI64,
    fsync_fails: AtomicBool,
}

impl Faulty {
    fn new() -> Self {
        let file = Self::default();
        file.make_room();
        file
    }

    fn make_room(&self) {
        self.0.room.store(-1, Ordering::SeqCst);
    }

    fn fill_after(&self, writes: i64) {
        self.0.room.store(writes, Ordering::SeqCst);
    }

    fn take_room(&self) -> io::Result<()> {
        let take = |room: i64| match room {
            0 => None,
            more if more > 0 => Some(more - 1),
            all => Some(all),
        };
        let taken = self.0.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        taken.map(drop).map_err(|_| io::Error::from(ErrorKind::StorageFull))
    }

    fn opener(&self) -> Opener {
        let file = self.clone();
        Box::new(move || Ok(Box::new(file.clone())))
    }

    fn serve(&self) -> Arc<ApiServer> {
        let (disk, contents) = Disk::open_on(Path::new("/data"), self.opener()).unwrap();
        ApiServer::open_with(Options::default(), Some(disk), contents).unwrap()
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.bytes.lock().unwrap()[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.fsync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the device is gone"));
        }
        Ok(())
    }

    /// A write without room leaves its first half behind, as a real one may.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let room = self.take_room();
        let written = if room.is_ok() { data } else { &data[..data.len() / 2] };
        let offset = usize::try_from(offset).unwrap();
        self.0.bytes.lock().unwrap()[offset..offset + written.len()].copy_from_slice(written);
        room
    }

    fn try_lock_range(
        &self,
        _: std::ops::Bound<u64>,
        _: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        Ok(true)
    }

    fn unlock_range(
        &self,
        _: std::ops::Bound<u64>,
        _: std::ops::Bound<u64>,
    ) -> Result<(), redb::BackendError> {
        Ok(())
    }

    fn query_lock_range(
        &self,
        _: std::ops::Bound<u64>,
        _: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        Ok(false)
    }
}

async fn send(server: &Arc<ApiServer>, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = request.body(Full::new(body.into())).unwrap();
    let response = server.service(User::admin("admin")).oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn create(server: &Arc<ApiServer>, name: &str) -> (u16, Value) {
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
        "data": { "padding": "x".repeat(10_000) } });
    send(server, "POST", PATH, &body).await
}

async fn list(server: &Arc<ApiServer>) -> Value {
    send(server, "GET", PATH, &Value::Null).await.1
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_full_disk_makes_the_server_read_only_until_there_is_room() {
    let file = Faulty::new();
    let server = file.serve();
    assert_eq!(create(&server, "a").await.0, 201);
    let before = list(&server).await;
    file.fill_after(0);
    for name in ["b", "c"] {
        let (code, refused) = create(&server, name).await;
        assert_eq!((code, &refused["reason"]), (507, &json!("InsufficientStorage")));
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("the disk of /data is full (no storage space)"), "{message}");
        assert!(
            message.ends_with("reads go on. Free some space there, then try again"),
            "{message}"
        );
    }
    let path = format!("{PATH}/a");
    assert_eq!(send(&server, "DELETE", &path, &Value::Null).await.0, 507);
    assert_eq!(send(&server, "GET", &path, &Value::Null).await.0, 200);
    assert_eq!(list(&server).await, before);
    file.make_room();
    let (code, made) = create(&server, "c").await;
    assert_eq!(code, 201);
    let version =
        |v: &Value| -> u64 { v["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap() };
    assert!(version(&made) > version(&before));
    let now = list(&server).await;
    assert_eq!(names(&now), ["a", "c"]);
    drop(server);
    assert_eq!(list(&file.serve()).await, now);
}

#[tokio::test]
async fn wherever_the_room_ends_nothing_is_lost_or_half_there() {
    let (mut refusals, mut adopted) = (0, 0);
    for writes in 0..40 {
        let file = Faulty::new();
        let server = file.serve();
        create(&server, "a").await;
        file.fill_after(writes);
        let (code, _) = create(&server, "b").await;
        assert!([201, 507].contains(&code), "after {writes} writes: {code}");
        refusals += usize::from(code == 507);
        let shown = list(&server).await;
        assert_eq!(names(&shown).contains(&"b"), code == 201, "after {writes} writes");
        file.make_room();
        let (again, body) = create(&server, "b").await;
        assert!(again == 409 || (again == 201 && code == 507), "after {writes} writes: {body}");
        adopted += usize::from(again == 409 && code == 507);
        let shown = list(&server).await;
        assert_eq!(names(&shown), ["a", "b"], "after {writes} writes");
        drop(server);
        assert_eq!(list(&file.serve()).await, shown, "after {writes} writes");
    }
    assert!(refusals > 2, "the room ended {refusals} times within a commit");
    assert!(adopted > 0, "a commit was on the disk although its last write found no room");
}

#[tokio::test]
async fn a_failed_fsync_stops_the_server() {
    let file = Faulty::new();
    let server = file.serve();
    create(&server, "a").await;
    file.0.fsync_fails.store(true, Ordering::SeqCst);
    let (code, refused) = create(&server, "b").await;
    assert_eq!((code, &refused["reason"]), (500, &json!("InternalError")));
    assert!(server.failed().await.contains("fsync failed: the device is gone"));
    file.0.fsync_fails.store(false, Ordering::SeqCst);
    for method in ["GET", "DELETE"] {
        let (code, refused) = send(&server, method, &format!("{PATH}/a"), &Value::Null).await;
        assert_eq!(code, 500);
        assert!(refused["message"].as_str().unwrap().starts_with("the store has failed: "));
    }
}
