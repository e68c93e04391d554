//! Pods that have ended, are gone, or have another one in their place.

use super::*;

#[test]
fn the_kubelets_word_needs_no_wait() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Running(0, "a", "p/1", 5),
        Step(0, &[]),
        Pod(5, "p/1", Life::Terminated),
        Due(Some(0)),
        Step(5, &[ENDED]),
    ];
    check(synced(), script);
}

#[test]
fn the_kubelets_word_holds_when_the_pod_is_gone_and_for_a_run_that_is_seen_late() {
    let script = vec![
        Pod(5, "p/1", Life::Terminated),
        GonePod(6, "p"),
        Scheduled(60, "a", "p/1", 5),
        Step(60, &[ENDED]),
    ];
    check(synced(), script);
    let forgotten = vec![
        Pod(5, "p/1", Life::Terminated),
        GonePod(6, "p"),
        Step(66, &[]),
        Scheduled(66, "a", "p/1", 5),
        Step(66, &[]),
        Step(126, &["find p-1"]),
    ];
    check(synced(), forgotten);
}

#[test]
fn a_pod_that_is_gone_without_the_kubelets_word_may_still_run() {
    let script = vec![
        Running(0, "a", "p/1", 5),
        Step(0, &[]),
        GonePod(10, "p"),
        Step(69, &[]),
        Step(70, &["find p-1"]),
        Step(71, &[]),
        Found(71, "p/1", FindAnswer::Gone),
        Step(71, &[GONE]),
    ];
    check(synced(), script);
}

#[test]
fn a_pod_that_a_late_watch_did_not_show_is_no_lost_pod() {
    for answer in [FindAnswer::Exists, FindAnswer::Failed] {
        let script = vec![
            Scheduled(0, "a", "q/1", 5),
            Step(0, &[]),
            Step(60, &["find q-1"]),
            Found(61, "q/1", answer),
            Step(120, &[]),
            Step(121, &["find q-1"]),
            Pod(122, "q/1", Life::Stays),
            Found(123, "q/1", FindAnswer::Failed),
            Step(182, &[]),
            Step(183, &["break q-1 -"]),
        ];
        check(synced(), script);
    }
}

#[test]
fn the_lease_of_a_pod_that_is_gone_is_broken_first() {
    for (claimed_by, orders, takes) in [
        (Some("p-1"), &["break p-1 1 of p-1"] as &'static [_], &[GONE] as &'static [_]),
        (None, &["break p-1 1"], &[NOT_STARTED]),
    ] {
        let script = vec![
            Lease(0, "p", "1", claimed_by),
            Scheduled(0, "a", "p/1", 5),
            GonePod(10, "p"),
            Step(69, &[]),
            Step(70, orders),
            Broke(70, "p/1", broken("2")),
            Step(70, takes),
        ];
        check(synced(), script);
    }
}

#[test]
fn a_lease_that_changes_after_its_pod_is_gone_counts_anew() {
    for change in [Lease(30, "p", "2", Some("p-1")), Interrupted(30)] {
        let script = vec![
            Lease(0, "p", "1", Some("p-1")),
            Running(0, "a", "p/1", 5),
            GonePod(10, "p"),
            change,
            Step(89, &[]),
        ];
        check(synced(), script);
    }
}

#[test]
fn with_the_lease_of_a_pod_that_is_gone_the_break_is_not_needed_any_more() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Running(0, "a", "p/1", 5),
        GonePod(10, "p"),
        Step(10, &[]),
        LeaseGone(12, "p"),
        Step(69, &[]),
        Step(70, &["find p-1"]),
    ];
    check(synced(), script);
}

#[test]
fn a_pod_of_the_same_name_is_another_pod() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Running(0, "a", "p/1", 5),
        Pod(10, "p/2", Life::Stays),
        // The new pod takes the Lease: that is no sign of life of the old one, and it isn't broken for it.
        Lease(20, "p", "2", Some("p-2")),
        Scheduled(20, "b", "p/2", 6),
        Step(69, &[]),
        Step(70, &["find p-1"]),
        Found(70, "p/1", FindAnswer::Gone),
        Step(70, &["take a@5: PodGone: pod p was replaced by another one"]),
        Step(79, &[]),
        Step(80, &["break p-2 2 of p-2"]),
    ];
    check(synced(), script);
}

#[test]
fn the_lease_that_the_old_pod_still_holds_is_broken_although_its_name_has_a_new_pod() {
    let script = vec![
        Lease(0, "p", "1", Some("p-1")),
        Running(0, "a", "p/1", 5),
        Pod(10, "p/2", Life::Stays),
        Step(70, &["break p-1 1 of p-1"]),
        Broke(70, "p/1", broken("2")),
        Step(70, &["take a@5: PodGone: pod p was replaced by another one"]),
    ];
    check(synced(), script);
}

#[test]
fn nothing_is_gone_before_all_pods_were_shown() {
    let mut reaper = Reaper::new(at(REAP));
    reaper.leases_synced(at(0));
    reaper.run_seen(run("a", "p/1", "Running", 5), at(0));
    assert!(reaper.step(at(0)).is_empty());
    assert!(reaper.step(at(500)).is_empty());
    reaper.pods_synced();
    check(reaper, vec![Step(500, &[]), Step(559, &[]), Step(560, &["find p-1"])]);
}

#[test]
fn the_namespace_of_each_run_of_a_pod_that_is_to_end_is_looked_at_once() {
    let script = vec![
        Running(0, "a", "p/1", 5),
        Step(0, &[]),
        Pod(1, "p/1", Life::Ends),
        Step(1, &["namespace of a"]),
        Running(2, "a", "p/1", 6),
        Scheduled(2, "b", "p/1", 7),
        Step(2, &["namespace of b"]),
    ];
    check(synced(), script);
}
