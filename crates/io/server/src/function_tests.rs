//! A function as a server: its end is always told, and told once.

use super::*;
use crate::events::Events;
use crate::lease::Lease;
use crate::server::{Server, Service};
use crate::table::Table;
use crate::{Stream, Why};
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_server::Runtime;
use kruntimes_proto::executor::v1::{
    CancelRequest, ExecutionState, HealthRequest, StatusRequest, StatusResponse,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::time::Instant;
use tonic::Code;

fn config() -> Config {
    Arguments::parse_from(["server", "--work-dir", "/nowhere"]).config
}

fn service<F, R>(execute: F) -> Service<impl Executor>
where
    F: Fn(ExecuteRequest, Output, Cancel) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    Service(Arc::new(Server {
        executor: from_fn(&config(), execute),
        table: Table::default(),
        events: Events::new(),
        lease: Lease::new().unwrap(),
    }))
}

fn request(id: &str, timeout_seconds: i64) -> Request<ExecuteRequest> {
    let (id, working_dir) = (id.to_owned(), "/nowhere/own".to_owned());
    Request::new(ExecuteRequest { id, timeout_seconds, working_dir, ..Default::default() })
}

async fn status<E: Executor>(service: &Service<E>, id: &str) -> StatusResponse {
    let request = Request::new(StatusRequest { id: id.to_owned() });
    service.status(request).await.unwrap().into_inner()
}

async fn ended<E: Executor>(service: &Service<E>, id: &str) -> StatusResponse {
    service.0.table.get(id).unwrap().wait_until_ended().await;
    status(service, id).await
}

#[tokio::test(start_paused = true)]
async fn what_it_returns_and_prints_is_the_status() {
    let service = service(async |request: ExecuteRequest, output: Output, _| {
        output.stdout(&request.working_dir);
        output.stderr(b"\xff");
        Outcome::exited(3)
    });
    service.execute(request("a", 0)).await.unwrap();
    let status = ended(&service, "a").await;
    assert_eq!((status.state(), status.exit_code), (ExecutionState::Failed, 3));
    assert_eq!((status.stdout.as_str(), status.stderr.as_str()), ("/nowhere/own", "\u{fffd}"));
    assert_eq!(status.error_message, "exit status 3");
    assert!(service.health(Request::new(HealthRequest {})).await.unwrap().into_inner().healthy);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_end_when_asked_is_dropped() {
    let dropped = Arc::new(AtomicU32::new(0));
    struct Guard(Arc<AtomicU32>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::clone(&dropped);
    let service = service(move |_, _, _| {
        let guard = Guard(Arc::clone(&count));
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let start = Instant::now();
    service.execute(request("a", 1)).await.unwrap();
    let status = ended(&service, "a").await;
    assert_eq!((status.exit_code, status.error_message.as_str()), (-1, "timeout"));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    let took = start.elapsed();
    let limit = Duration::from_secs(1) + ANSWER_TIME;
    assert!(took >= limit && took < limit + Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_why_it_shall_end() {
    let told: Arc<std::sync::Mutex<Vec<Why>>> = Arc::default();
    let seen = Arc::clone(&told);
    let service = service(move |_, _, cancel: Cancel| {
        let seen = Arc::clone(&seen);
        async move {
            let why = cancel.wait().await;
            seen.lock().unwrap().push(why);
            Outcome::ended(why)
        }
    });
    service.execute(request("a", 5)).await.unwrap();
    assert_eq!(ended(&service, "a").await.error_message, "timeout");
    service.execute(request("b", 0)).await.unwrap();
    service.cancel(Request::new(CancelRequest { id: "b".to_owned() })).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [Why::Timeout, Why::Cancelled]);
    let unknown = service.status(Request::new(StatusRequest { id: "b".to_owned() })).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_panic_is_an_end() {
    let service = service(async |_, _, _| panic!("on purpose"));
    service.execute(request("a", 0)).await.unwrap();
    let status = ended(&service, "a").await;
    assert_eq!(status.error_message, "execution lost: the server's code panicked");
    assert_eq!(status.state(), ExecutionState::Failed);
}

#[tokio::test]
async fn a_timeout_beyond_the_clock_is_none() {
    let service = service(async |_, _, _| Outcome::exited(0));
    service.execute(request("a", i64::MAX)).await.unwrap();
    assert_eq!(ended(&service, "a").await.state(), ExecutionState::Succeeded);
}

/// Threads that print at once: every byte is there once, in one order, and nothing after the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_many_threads_is_in_one_order() {
    let service = service(async |_, output: Output, _| {
        let print = |stream: Stream| {
            let output = output.clone();
            move || (0..2000).for_each(|_| output.write(stream, "abc"))
        };
        let threads = [Stream::Stdout, Stream::Stdout, Stream::Stderr].map(print);
        let threads = threads.map(tokio::task::spawn_blocking);
        for thread in threads {
            thread.await.unwrap();
        }
        let late = output.clone();
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            late.stdout("late");
        });
        Outcome::exited(0)
    });
    service.execute(request("a", 0)).await.unwrap();
    let status = ended(&service, "a").await;
    assert_eq!((status.stdout.len(), status.stderr.len()), (12_000, 6_000));
    service.0.events.close();
    let mut watcher = service.0.events.watch(0);
    let (mut lengths, mut ends) = ([0_usize; 2], 0);
    while let Some(event) = watcher.next().await {
        assert_eq!(ends, 0, "{event:?} after the end");
        match event.event.unwrap() {
            Event::Started(_) => {}
            Event::Output(output) => {
                let length = &mut lengths[usize::try_from(output.stream).unwrap() - 1];
                assert_eq!(output.offset, i64::try_from(*length).unwrap());
                *length += output.data.len();
            }
            Event::Exited(_) => ends += 1,
        }
    }
    assert_eq!((lengths, ends), ([12_000, 6_000], 1));
}
