//! How executions and the server itself end, and who may say so.

use crate::fixture::{
    Fixture, TOKEN, Token, handle, is_gone, kill, parent, request, stop, until_end, wait_for_end,
};
use kruntimes_proto::executor::v1::runtime_client::RuntimeClient;
use kruntimes_proto::executor::v1::{
    CancelRequest, ExecuteRequest, ExecutionState, ForgetRequest, HealthRequest, RenewRequest,
    StatusRequest,
};
use std::time::{Duration, Instant};
use tonic::Code;

const GRACE: Duration = Duration::from_secs(2);
/// Double fork, a session of its own, every mild signal ignored, the pipes held; prints its pid.
const DAEMON: &str = "exec 5>&1; read -r daemon < <(trap '' TERM HUP INT; setsid bash -c 'trap \"\" TERM; echo $BASHPID; exec >&5; while :; do read -t 60 <> <(:); done' &); echo $daemon";
/// Prints its pid, then ignores SIGTERM for ever.
const STUBBORN: &str = "trap '' TERM; echo $$; while :; do read -t 60 <> <(:); done";

pub(crate) async fn a_daemon_is_gone_when_the_end_is_told(mut fixture: Fixture) {
    let code = format!("{DAEMON}; exit 3");
    let seen = fixture.run_args("a", &[&code]).await;
    assert_eq!(seen.exit(), (3, 0, "exit status 3"));
    fixture.nothing_is_left();
}

pub(crate) async fn a_background_child_does_not_hold_the_run(mut fixture: Fixture) {
    let seen = fixture.run_args("a", &["sleep 1000 & echo $!"]).await;
    assert_eq!(seen.exit(), (0, 0, ""));
    fixture.nothing_is_left();
}

pub(crate) async fn a_timeout_kills_who_ignores_it(mut fixture: Fixture) {
    let begin = Instant::now();
    let seen =
        fixture.run(ExecuteRequest { timeout_seconds: 1, ..request("a", &[STUBBORN]) }).await;
    let took = begin.elapsed();
    assert_eq!(seen.exit(), (-1, 9, "timeout"));
    fixture.nothing_is_left();
    let least = Duration::from_secs(1) + GRACE;
    assert!((least..least + Duration::from_secs(1)).contains(&took), "{took:?}");
    let status = fixture.status("a").await;
    assert_eq!((status.state(), status.exit_code), (ExecutionState::Failed, -1));
    assert_eq!(status.error_message, "timeout");
}

pub(crate) async fn cancel_kills_and_drops(mut fixture: Fixture) {
    let pid = fixture.start_and_read_pid("a", &["echo $$; exec sleep 1000"]).await;
    let told = Instant::now();
    fixture.runtime.cancel(CancelRequest { id: "a".to_owned() }).await.unwrap();
    assert!(told.elapsed() < GRACE, "who heeds SIGTERM is not waited for");
    assert!(is_gone(pid));
    let stubborn = fixture.start_and_read_pid("b", &[STUBBORN]).await;
    let told = Instant::now();
    fixture.runtime.cancel(CancelRequest { id: "b".to_owned() }).await.unwrap();
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    assert!(is_gone(stubborn));
    for id in ["a", "b", "never"].map(str::to_owned) {
        let status = fixture.runtime.status(StatusRequest { id: id.clone() }).await;
        assert_eq!(status.unwrap_err().code(), Code::NotFound);
        let again = fixture.runtime.cancel(CancelRequest { id }).await;
        assert_eq!(again.unwrap_err().code(), Code::NotFound);
    }
}

pub(crate) async fn an_id_that_exists_is_replaced(mut fixture: Fixture) {
    let first = fixture.start_and_read_pid("a", &["echo $$; exec sleep 1000"]).await;
    fixture.execute(request("a", &["echo second; exec sleep 1000"])).await;
    assert!(is_gone(first), "attempts never overlap");
    fixture.execute(request("a", &["echo third"])).await;
    let mut events = fixture.watch(0).await;
    for message in ["cancelled", "cancelled", ""] {
        let seen = until_end(&mut events, "a").await;
        assert_eq!(seen.exit().2, message);
    }
    assert_eq!(fixture.status("a").await.stdout, "third\n");
}

pub(crate) async fn only_the_ended_can_be_forgotten(mut fixture: Fixture) {
    let forget = || ForgetRequest { id: "a".to_owned() };
    assert_eq!(fixture.runtime.forget(forget()).await.unwrap_err().code(), Code::NotFound);
    fixture.start_and_read_pid("a", &["echo $$; exec sleep 1000"]).await;
    let refused = fixture.runtime.forget(forget()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    fixture.execute(request("a", &["true"])).await;
    let mut events = fixture.watch(0).await;
    until_end(&mut events, "a").await;
    until_end(&mut events, "a").await;
    fixture.runtime.forget(forget()).await.unwrap();
    assert_eq!(fixture.runtime.forget(forget()).await.unwrap_err().code(), Code::NotFound);
}

pub(crate) async fn the_token_is_required(mut fixture: Fixture) {
    assert!(fixture.runtime.health(HealthRequest {}).await.unwrap().into_inner().healthy);
    for token in [None, Some("wrong"), Some("")] {
        let mut stranger = RuntimeClient::with_interceptor(fixture.channel.clone(), Token(token));
        let health = stranger.health(HealthRequest {}).await.unwrap_err();
        assert_eq!(health.code(), Code::Unauthenticated, "{token:?}");
        let execute = stranger.execute(request("a", &["true"])).await.unwrap_err();
        assert_eq!(execute.code(), Code::Unauthenticated, "{token:?}");
    }
    // runtimed restarted: a new token holds, and the old one no longer.
    std::fs::write(fixture.workspace().with_file_name("token"), "new").unwrap();
    let mut restarted =
        RuntimeClient::with_interceptor(fixture.channel.clone(), Token(Some("new")));
    restarted.health(HealthRequest {}).await.unwrap();
    let old = fixture.runtime.health(HealthRequest {}).await.unwrap_err();
    assert_eq!(old.code(), Code::Unauthenticated, "{TOKEN}");
}

pub(crate) async fn without_renewal_all_ends(mut fixture: Fixture) {
    let pid = fixture.start_and_read_pid("a", &["echo $$; exec sleep 1000"]).await;
    let refused = fixture.events.renew(RenewRequest { ttl_millis: 0 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut events = fixture.watch(0).await;
    let begin = Instant::now();
    fixture.events.renew(RenewRequest { ttl_millis: 60_000 }).await.unwrap();
    fixture.events.renew(RenewRequest { ttl_millis: 300 }).await.unwrap();
    let seen = until_end(&mut events, "a").await;
    assert_eq!(seen.exit(), (143, 15, "killed: not renewed in time"));
    assert!(
        (Duration::from_millis(300)..GRACE).contains(&begin.elapsed()),
        "{:?}",
        begin.elapsed()
    );
    assert!(is_gone(pid));
    let late = fixture.runtime.execute(request("b", &["true"])).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    let unknown = fixture.runtime.status(StatusRequest { id: "b".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    fixture.events.renew(RenewRequest { ttl_millis: 60_000 }).await.unwrap();
    fixture.execute(request("b", &["true"])).await;
}

pub(crate) async fn the_lifeline_ends_the_server_and_its_runs(mut fixture: Fixture) {
    let pid = fixture.start_and_read_pid("a", &[STUBBORN]).await;
    let mut events = fixture.watch(0).await;
    let begin = Instant::now();
    drop(fixture.process.stdin.take());
    let seen = until_end(&mut events, "a").await;
    assert_eq!(seen.exit(), (137, 9, "killed: the runtime server shuts down"));
    assert!(events.message().await.unwrap().is_none(), "the stream ends in order");
    wait_for_end(handle(i32::try_from(fixture.process.id()).unwrap()).unwrap()).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(fixture.process.wait().unwrap().success());
    assert!(is_gone(pid));
}

pub(crate) async fn a_killed_server_leaves_nothing(mut fixture: Fixture) {
    let code = format!("{DAEMON}; exec sleep 1000");
    let daemon = fixture.start_and_read_pid("a", &[&code]).await;
    let main = fixture.start_and_read_pid("b", &["echo $$; exec sleep 1000"]).await;
    let supervisor = parent(main);
    let zygote = parent(supervisor);
    let all: Vec<_> = [daemon, main, supervisor, zygote].map(|pid| handle(pid).unwrap()).into();
    fixture.process.kill().unwrap();
    for process in all {
        wait_for_end(process).await;
    }
}

pub(crate) async fn a_dead_zygote_ends_the_server(mut fixture: Fixture) {
    let code = format!("{DAEMON}; exec sleep 1000");
    let daemon = fixture.start_and_read_pid("a", &[&code]).await;
    let main = fixture.start_and_read_pid("b", &["echo $$; exec sleep 1000"]).await;
    kill(parent(parent(main)));
    wait_for_end(handle(i32::try_from(fixture.process.id()).unwrap()).unwrap()).await;
    assert_eq!(fixture.process.wait().unwrap().code(), Some(1));
    assert!(is_gone(daemon) && is_gone(main));
}

pub(crate) async fn a_stopped_supervisor_cannot_hold_a_cancel(mut fixture: Fixture) {
    let pid = fixture.start_and_read_pid("a", &["echo $$; exec sleep 1000"]).await;
    stop(parent(pid));
    let told = Instant::now();
    fixture.runtime.cancel(CancelRequest { id: "a".to_owned() }).await.unwrap();
    assert!(is_gone(pid));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    assert_eq!(fixture.run_args("b", &["echo next"]).await.stdout(), "next\n");
}
