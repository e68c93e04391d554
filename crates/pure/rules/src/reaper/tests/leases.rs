//! Leases that stand still, and what is taken under their break.

use super::*;

#[test]
fn a_lease_that_stood_for_reap_after_is_broken_and_only_then_the_run_is_taken() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Running(1, "a", "p/1", 5),
        Step(1, &[]),
        Lease(10, "p", "2", Some("p-1")),
        // The same version again is no news.
        Lease(30, "p", "2", Some("p-1")),
        Step(61, &[]),
        Due(Some(70)),
        Step(69, &[]),
        Step(70, &["break p-1 2 of p-1"]),
        Step(200, &[]),
        Broke(200, "p/1", broken("3")),
        Step(200, &[UNHEALTHY]),
        Step(201, &[]),
        Took(201, "a", 5, TakeAnswer::Done),
        Step(500, &[]),
        Due(None),
    ];
    check(synced(), script);
}

#[test]
fn a_pod_that_renews_keeps_its_runs() {
    let mut script = vec![Running(0, "a", "p/1", 5)];
    for (now, version) in [(3, "1"), (40, "2"), (99, "3"), (158, "4")] {
        script.extend([Lease(now, "p", version, Some("p-1")), Step(now + 59, &[])]);
    }
    check(synced(), script);
}

#[test]
fn a_conflict_means_that_the_pod_lives_and_a_request_without_an_answer_counts_anew() {
    for answer in [BreakAnswer::Conflict, BreakAnswer::Failed] {
        let script = vec![
            Lease(0, "p", "1", Some("p-1")),
            Running(0, "a", "p/1", 5),
            Step(60, &["break p-1 1 of p-1"]),
            Broke(65, "p/1", answer),
            Step(124, &[]),
            Step(125, &["break p-1 1 of p-1"]),
        ];
        check(synced(), script);
    }
}

#[test]
fn what_was_seen_before_an_interruption_of_the_watch_or_a_relist_counts_anew() {
    for interruption in [Interrupted as fn(u64) -> Line, LeasesSynced] {
        let script = vec![
            Lease(0, "p", "1", Some("p-1")),
            Running(0, "a", "p/1", 5),
            interruption(59),
            Step(118, &[]),
            Step(119, &["break p-1 1 of p-1"]),
        ];
        check(synced(), script);
    }
}

#[test]
fn nothing_is_broken_before_all_leases_were_shown() {
    let mut reaper = Reaper::new(at(REAP));
    reaper.pods_synced();
    let script = vec![
        Running(0, "a", "p/1", 5),
        Pod(0, "p/1", Life::Stays),
        Step(500, &[]),
        Due(None),
        LeasesSynced(500),
        Step(559, &[]),
        Step(560, &["break p-1 -"]),
    ];
    check(reaper, script);
}

#[test]
fn a_run_that_a_pod_never_took_did_not_start() {
    for (lease, orders) in [
        (None, &["break p-1 -"] as &'static [_]),
        (Some(Lease(0, "p", "1", None)), &["break p-1 1"]),
    ] {
        let mut script: Vec<Line> = lease.into_iter().collect();
        script.extend([
            // An idle pod's Lease stands for hours: the Run's own time counts.
            Scheduled(1000, "a", "p/1", 5),
            Step(1059, &[]),
            Step(1060, orders),
            Broke(1061, "p/1", broken("9")),
        ]);
        if orders == ["break p-1 -"] {
            script.extend([Step(1061, &["find p-1"]), Found(1061, "p/1", FindAnswer::Exists)]);
        }
        script.extend([Step(1061, &[NOT_STARTED])]);
        check(synced(), script);
    }
}

#[test]
fn a_run_that_is_seen_running_has_started_whatever_the_lease_says() {
    let script = vec![
        Running(0, "a", "p/1", 5),
        Step(60, &["break p-1 -"]),
        Broke(60, "p/1", broken("9")),
        Step(60, &["find p-1"]),
        Found(60, "p/1", FindAnswer::Exists),
        Step(60, &[UNHEALTHY]),
    ];
    check(synced(), script);
}

#[test]
fn a_lease_that_somebody_deleted_may_still_be_believed_in() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Scheduled(0, "a", "p/1", 5),
        LeaseGone(30, "p"),
        Step(89, &[]),
        Step(90, &["break p-1 - of p-1"]),
        Broke(90, "p/1", broken("9")),
        Step(90, &["find p-1"]),
        Found(90, "p/1", FindAnswer::Exists),
        Step(90, &[UNHEALTHY]),
    ];
    check(synced(), script);
}

#[test]
fn the_lease_of_an_earlier_pod_of_the_same_name_is_not_held_by_this_one() {
    let script = vec![
        Lease(0, "p", "1", Some("p-0")),
        Scheduled(0, "a", "p/1", 5),
        Step(60, &["break p-1 1"]),
        Broke(60, "p/1", broken("9")),
        Step(60, &[NOT_STARTED]),
    ];
    check(synced(), script);
}

#[test]
fn exactly_the_runs_that_were_remembered_are_taken_as_they_were() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Running(0, "a", "p/1", 5),
        Running(0, "written", "p/1", 6),
        Running(0, "ended", "p/1", 7),
        Running(59, "young", "p/1", 8),
        Step(60, &["break p-1 1 of p-1"]),
        // Written, ended and assigned while the break was under way.
        Running(61, "written", "p/1", 16),
        RunGone("ended"),
        Scheduled(61, "later", "p/1", 9),
        Step(61, &[]),
        Broke(62, "p/1", broken("2")),
        Step(
            62,
            &[UNHEALTHY, "take young@8: PodUnhealthy: pod p has not renewed its Lease for 60 s"],
        ),
        Took(62, "a", 5, TakeAnswer::Done),
        Took(62, "young", 8, TakeAnswer::Done),
        // The others wait for a break of their own.
        Lease(63, "p", "2", Some("p-1")),
        Step(121, &[]),
        Step(122, &["break p-1 2 of p-1"]),
        Broke(122, "p/1", broken("3")),
        Step(
            122,
            &[
                "take later@9: PodUnhealthy: pod p has not renewed its Lease for 60 s",
                "take written@16: PodUnhealthy: pod p has not renewed its Lease for 60 s",
            ],
        ),
    ];
    check(synced(), script);
}

#[test]
fn a_broken_lease_is_broken_again_before_a_run_that_came_later_is_taken() {
    let script = vec![
        Lease(0, "p", "4", None),
        Scheduled(100, "a", "p/1", 5),
        Step(159, &[]),
        Step(160, &["break p-1 4"]),
        Broke(160, "p/1", BreakAnswer::Conflict),
        Lease(160, "p", "5", Some("p-1")),
        Step(219, &[]),
        Step(220, &["break p-1 5 of p-1"]),
    ];
    check(synced(), script);
}

#[test]
fn a_write_that_does_not_come_about_is_sent_again_until_the_run_is_another_one() {
    let script = vec![
        Running(0, "a", "p/1", 5),
        Pod(0, "p/1", Life::Terminated),
        Step(1, &[ENDED]),
        Took(1, "a", 5, TakeAnswer::Not),
        Step(1, &[]),
        Step(2, &[ENDED]),
        // An answer for another version is not this write's.
        Took(2, "a", 4, TakeAnswer::Done),
        Took(2, "a", 5, TakeAnswer::Not),
        Step(3, &[ENDED]),
        RunGone("a"),
        Took(3, "a", 5, TakeAnswer::Not),
        Step(100, &[]),
        Due(None),
    ];
    check(synced(), script);
}

#[test]
fn the_waits_between_writes_double_up_to_half_a_minute() {
    let mut reaper = synced();
    reaper.run_seen(run("a", "p/1", "Running", 5), at(0));
    reaper.pod_seen(PodSeen { id: id("p/1"), life: Life::Terminated }, at(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..11 {
        assert_eq!(reaper.step(now).len(), 1);
        reaper.took(&run_key("a"), Some("5"), TakeAnswer::Not, now);
        let next = reaper.deadline().unwrap();
        waits.push(u64::try_from((next - now).as_millis()).unwrap());
        now = next;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
}

#[test]
fn one_pod_does_not_delay_another() {
    let script = vec![
        Pod(0, "q/1", Life::Stays),
        Lease(0, "p", "1", Some("p-1")),
        Lease(0, "q", "2", Some("q-1")),
        Running(0, "a", "p/1", 5),
        Running(0, "b", "q/1", 6),
        Step(60, &["break p-1 1 of p-1", "break q-1 2 of q-1"]),
        // No answer ever comes for p.
        Broke(61, "q/1", broken("3")),
        Step(61, &["take b@6: PodUnhealthy: pod q has not renewed its Lease for 60 s"]),
    ];
    check(synced(), script);
}

#[test]
fn a_new_attempt_on_the_same_pod_has_its_own_time() {
    let mut reaper = synced();
    reaper.run_seen(run("a", "p/1", "Scheduled", 5), at(0));
    let mut second = (*run("a", "p/1", "Scheduled", 9)).clone();
    second.status.as_mut().unwrap().attempt = Some(2);
    reaper.run_seen(Arc::new(second), at(50));
    check(reaper, vec![Step(109, &[]), Step(110, &["break p-1 -"])]);
    // A change of the same attempt has not.
    let script = vec![
        Scheduled(0, "a", "p/1", 5),
        Running(50, "a", "p/1", 6),
        Step(59, &[]),
        Step(60, &["break p-1 -"]),
    ];
    check(synced(), script);
}

#[test]
fn requests_under_way_are_bounded_and_the_rest_follows() {
    let mut reaper = synced();
    let names: Vec<String> = (0..100).map(|number| format!("r{number:03}")).collect();
    for name in &names {
        reaper.run_seen(run(name, "p/1", "Running", 5), at(0));
    }
    reaper.pod_seen(PodSeen { id: id("p/1"), life: Life::Terminated }, at(1));
    assert_eq!(reaper.step(at(1)).len(), 64);
    assert_eq!(reaper.step(at(1)).len(), 0);
    assert_eq!(reaper.deadline(), None);
    for name in &names[..64] {
        reaper.took(&run_key(name), Some("5"), TakeAnswer::Done, at(2));
    }
    assert_eq!(reaper.deadline(), Some(at(1)));
    assert_eq!(reaper.step(at(2)).len(), 36);
}

#[test]
fn nothing_is_kept_of_what_is_gone() {
    let mut reaper = synced();
    for round in 0..5 {
        let now = at(100 * round);
        reaper.run_seen(run("a", "p/1", "Running", round), now);
        let version = round.to_string();
        let claimed_by = Some("p-1".to_owned());
        reaper.lease_seen(LeaseSeen { key: key("p"), version, claimed_by }, now);
        reaper.step(now);
        reaper.pod_seen(PodSeen { id: id("p/1"), life: Life::Terminated }, now);
        reaper.pod_gone(&key("p"), now);
        reaper.step(now);
        reaper.run_gone(&run_key("a"));
        reaper.lease_gone(&key("p"), now);
        reaper.step(now + at(REAP));
    }
    let Reaper { runs, sites, pods, terminated, terminated_at, leases, dirty, timers, .. } = reaper;
    assert!(runs.is_empty() && sites.is_empty() && pods.is_empty() && terminated.is_empty());
    assert!(terminated_at.is_empty() && leases.is_empty() && dirty.is_empty() && timers.is_empty());
}

#[test]
fn a_break_that_stands_on_no_lease_takes_nothing_unless_the_pod_exists() {
    let broken_absent = |answer, rest: Vec<Line>| {
        let mut script = vec![
            Scheduled(0, "a", "p/1", 5),
            Step(60, &["break p-1 -"]),
            Broke(61, "p/1", broken("9")),
            Due(Some(0)),
            Step(61, &["find p-1"]),
            Found(62, "p/1", answer),
        ];
        script.extend(rest);
        check(synced(), script);
    };
    broken_absent(FindAnswer::Exists, vec![Step(62, &[NOT_STARTED])]);
    // Its Lease may have come and gone with it, and what it executes with neither.
    broken_absent(
        FindAnswer::Gone,
        vec![
            Step(62, &[]),
            GonePod(63, "p"),
            LeaseGone(63, "p"),
            Step(122, &[]),
            Step(123, &["find p-1"]),
        ],
    );
    let again = Step(122, &["break p-1 9"]);
    broken_absent(FindAnswer::Failed, vec![Step(62, &[]), Step(121, &[]), again]);
}

#[test]
fn a_lease_that_went_before_any_watch_showed_it_holds_no_run_for_ever() {
    let until_the_pod_is_gone = |rest: Vec<Line>| {
        let mut script = vec![
            Scheduled(0, "a", "p/1", 5),
            Step(60, &["break p-1 -"]),
            Broke(61, "p/1", broken("9")),
            Step(61, &["find p-1"]),
            Found(62, "p/1", FindAnswer::Gone),
            GonePod(63, "p"),
            Step(122, &[]),
            Step(123, &["break p-1 9"]),
            Broke(124, "p/1", BreakAnswer::Conflict),
            Step(183, &[]),
        ];
        script.extend(rest);
        check(synced(), script);
    };
    until_the_pod_is_gone(vec![
        Step(184, &["find p-1"]),
        Found(185, "p/1", FindAnswer::Gone),
        Step(185, &[GONE]),
    ]);
    // One that somebody has written meanwhile is shown in time.
    until_the_pod_is_gone(vec![
        Lease(183, "p", "10", None),
        Step(184, &[]),
        Step(243, &["break p-1 10"]),
    ]);
}
