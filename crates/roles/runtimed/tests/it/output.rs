//! Port 9093: what a Run printed, live and after its end, for those who have the token.

use crate::world::World;
use kruntimes_api::labels;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_client::RuntimeClient;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{
    CancelRequest, ExecutionEvent, ExecutionState, StatusRequest, WatchRequest,
};
use kube::ResourceExt;
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

async fn channel(world: &World) -> Channel {
    let address = format!("http://{}:9093", world.address);
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

async fn token(world: &World) -> String {
    let told = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.annotations().get(labels::CONTROL_TOKEN).cloned()
    };
    let pod = world.until_pod(|pod| told(pod).is_some()).await;
    told(&pod).unwrap()
}

fn signed<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("kruntimes-token", token.parse().unwrap());
    request
}

async fn watch(world: &World, uid: &str) -> Streaming<ExecutionEvent> {
    watch_attempt(world, uid, "1").await.unwrap()
}

async fn watch_attempt(
    world: &World,
    uid: &str,
    attempt: &str,
) -> Result<Streaming<ExecutionEvent>, tonic::Status> {
    let mut client = RuntimeEventsClient::new(channel(world).await);
    let mut request = signed(WatchRequest::default(), &token(world).await);
    request.metadata_mut().insert("kruntimes-run", uid.parse().unwrap());
    request.metadata_mut().insert("kruntimes-attempt", attempt.parse().unwrap());
    Ok(client.watch(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<ExecutionEvent>) -> Option<Event> {
    let message = tokio::time::timeout(crate::world::PATIENCE, stream.message()).await.unwrap();
    message.unwrap().map(|event| event.event.unwrap())
}

#[tokio::test]
async fn output_arrives_live_with_every_byte_and_stays_after_the_end() {
    let world = World::start(2).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let mut live = watch(&world, &uid).await;
    assert!(matches!(next(&mut live).await, Some(Event::Started(_))));
    world.fake.output(&uid, 1, 0, b"\xff\0a");
    let Some(Event::Output(piece)) = next(&mut live).await else { panic!("no output") };
    assert_eq!((piece.stream, piece.offset, piece.data), (1, 0, b"\xff\0a".to_vec()));
    world.fake.output(&uid, 2, 0, b"oh");
    world.fake.exit(&uid, 3, "exit status 3");
    let Some(Event::Output(piece)) = next(&mut live).await else { panic!("no output") };
    assert_eq!((piece.stream, piece.data), (2, b"oh".to_vec()));
    let Some(Event::Exited(exited)) = next(&mut live).await else { panic!("no end") };
    assert_eq!(exited.exit_code, 3);
    assert_eq!(next(&mut live).await, None);
    world.until_over("a").await;
    world.fake.called(&format!("Forget {uid}")).await;
    let mut again = watch(&world, &uid).await;
    assert!(matches!(next(&mut again).await, Some(Event::Started(_))));
    let Some(Event::Output(piece)) = next(&mut again).await else { panic!("no output") };
    assert_eq!(piece.data, b"\xff\0a");
    let mut client = RuntimeClient::new(channel(&world).await);
    let request = signed(StatusRequest { id: uid }, &token(&world).await);
    let status = client.status(request).await.unwrap().into_inner();
    assert_eq!(status.state(), ExecutionState::Failed);
    assert_eq!((status.stdout.as_str(), status.stderr.as_str()), ("\u{fffd}\0a", "oh"));
    assert_eq!((status.exit_code, status.error_message.as_str()), (3, "exit status 3"));
}

#[tokio::test]
async fn a_reader_of_the_next_attempt_is_not_given_the_output_of_the_former() {
    let world = World::start(1).await;
    let uid = world.assigned("a", json!({"retryPolicy": {"maxAttempts": 2}})).await;
    world.fake.executed(0).await;
    world.fake.output(&uid, 1, 0, b"first");
    world.fake.exit(&uid, 1, "exit status 1");
    let run = world.until("a", |run| run.phase() == kruntimes_api::Phase::Pending).await;
    let early = watch_attempt(&world, &uid, "2").await.unwrap_err();
    assert_eq!(early.code(), Code::NotFound);
    assert_eq!(watch_attempt(&world, &uid, "x").await.unwrap_err().code(), Code::InvalidArgument);
    world.assign(&run).await;
    world.fake.executed(1).await;
    world.fake.output(&uid, 1, 0, b"second");
    let mut live = watch_attempt(&world, &uid, "2").await.unwrap();
    assert!(matches!(next(&mut live).await, Some(Event::Started(_))));
    let Some(Event::Output(piece)) = next(&mut live).await else { panic!("no output") };
    assert_eq!(piece.data, b"second");
    world.fake.exit(&uid, 0, "");
    world.until_over("a").await;
}

#[tokio::test]
async fn a_run_that_waits_here_streams_nothing_until_it_starts() {
    let world = World::start(1).await;
    let first = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let second = world.assigned("b", json!({})).await;
    let token = token(&world).await;
    let mut client = RuntimeClient::new(channel(&world).await);
    let waits = async {
        loop {
            let request = signed(StatusRequest { id: second.clone() }, &token);
            if let Ok(status) = client.status(request).await {
                return status.into_inner().state();
            }
        }
    };
    let state = tokio::time::timeout(crate::world::PATIENCE, waits).await.unwrap();
    assert_eq!(state, ExecutionState::Pending);
    let mut live = watch(&world, &second).await;
    world.fake.exit(&first, 0, "");
    world.fake.executed(1).await;
    assert!(matches!(next(&mut live).await, Some(Event::Started(_))));
    world.fake.exit(&second, 0, "");
    assert!(matches!(next(&mut live).await, Some(Event::Exited(_))));
}

#[tokio::test]
async fn without_the_token_and_beyond_status_nothing_is_served() {
    let world = World::start(1).await;
    let token = token(&world).await;
    let mut client = RuntimeClient::new(channel(&world).await);
    let code = |result: Result<_, tonic::Status>| result.err().map(|status| status.code());
    let unknown = || StatusRequest { id: "x".to_owned() };
    let answer = client.status(Request::new(unknown())).await.map(drop);
    assert_eq!(code(answer), Some(Code::Unauthenticated));
    let answer = client.status(signed(unknown(), "wrong")).await.map(drop);
    assert_eq!(code(answer), Some(Code::Unauthenticated));
    let answer = client.status(signed(unknown(), &token)).await.map(drop);
    assert_eq!(code(answer), Some(Code::NotFound));
    let cancel = CancelRequest { id: "x".to_owned() };
    let answer = client.cancel(signed(cancel, &token)).await.map(drop);
    assert_eq!(code(answer), Some(Code::Unimplemented));
    let mut events = RuntimeEventsClient::new(channel(&world).await);
    let answer = events.watch(Request::new(WatchRequest::default())).await.map(drop);
    assert_eq!(code(answer), Some(Code::Unauthenticated));
    let answer = events.watch(signed(WatchRequest::default(), &token)).await.map(drop);
    assert_eq!(code(answer), Some(Code::InvalidArgument));
}

#[tokio::test]
async fn output_goes_with_its_run() {
    let mut world = World::start(2).await;
    for (index, name) in ["ended", "missed", "running", "kept"].into_iter().enumerate() {
        let uid = world.assigned(name, json!({})).await;
        world.fake.executed(index).await;
        world.fake.output(&uid, 1, 0, b"x");
        if name != "running" {
            world.fake.exit(&uid, 0, "");
            world.until_over(name).await;
        }
    }
    let log = async |name: &str| {
        let uid = world.until(name, |_| true).await.uid().unwrap();
        format!("state/logs/{uid}.1")
    };
    let (ended, missed) = (log("ended").await, log("missed").await);
    let (running, kept) = (log("running").await, log("kept").await);
    assert!(world.directory.join(&ended).exists());
    world.delete("ended").await;
    world.until_gone(&ended).await;
    world.delete("running").await;
    world.until_gone(&running).await;
    // What is deleted while nobody watches is missed by the next list.
    world.kill_runtimed().await;
    world.delete("missed").await;
    world.start_runtimed();
    world.until_gone(&missed).await;
    assert!(world.directory.join(&kept).exists());
}
