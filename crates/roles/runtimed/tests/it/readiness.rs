//! Whether the pod can take Runs, for the kubelet and for everybody.

use crate::world::World;
use k8s_openapi::api::core::v1::Pod;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) fn ready(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|found| found.type_ == "kruntimes.io/RuntimedReady")?;
    Some(&found.status)
}

pub(crate) async fn get(address: IpAddr, path: &'static str) -> String {
    let mut stream = TcpStream::connect((address, 9094)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_condition_follows_the_server_and_ends_with_the_pod() {
    let mut world = World::start(1).await;
    world.until_pod(|pod| ready(pod) == Some("True")).await;
    assert!(get(world.address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(world.address, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(world.address, "/livez/runtime").await.starts_with("HTTP/1.1 200 "));
    assert!(get(world.address, "/readyz/runtime").await.starts_with("HTTP/1.1 200 "));
    world.fake.set_unhealthy(true);
    for path in ["/readyz", "/readyz/runtime"] {
        let answer = get(world.address, path).await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("out of order"),
            "{answer}"
        );
    }
    // A broken stream makes runtimed look at once.
    world.fake.break_streams();
    world.until_pod(|pod| ready(pod) == Some("False")).await;
    world.fake.set_unhealthy(false);
    world.until_pod(|pod| ready(pod) == Some("True")).await;
    world.stop_runtimed().await;
    let pod = world.until_pod(|_| true).await;
    assert_eq!(ready(&pod), Some("False"));
}
