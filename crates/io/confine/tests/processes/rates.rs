//! What a start costs.

use super::own::Isolated;
use super::{bash, confined, finish, parent, run, started};
use kruntimes_confine::{End, Network, Zygote};
use std::time::Instant;

/// For `cargo xtask bench starts`. Prints, never asserts: what a supervised start costs beside a bare one, in time and in processor time, also confined.
pub(super) fn print(zygote: &Zygote, own: &Isolated) {
    let keeper =
        |zygote: &Zygote| parent(parent(started(&zygote.spawn(&bash("exec sleep 1000")).unwrap())));
    let (keeper, own_keeper) = (keeper(zygote), keeper(&own.zygote));
    let bare = || {
        let status =
            std::process::Command::new("/bin/bash").args(["-c", "true"]).env_clear().status();
        assert!(status.unwrap().success());
    };
    let supervised = || assert_eq!(run(zygote, "true").1, End::Exited(0));
    let place = confined::Place::new("rates");
    let confined = || {
        let command = place.confine(bash("true"), Network::Full);
        assert_eq!(finish(zygote.spawn(&command).unwrap()).1, End::Exited(0));
    };
    let own_place = own.place("own-rates");
    let alone = || {
        let command = own_place.confine(bash("true"), Network::Full);
        assert_eq!(finish(own.zygote.spawn(&command).unwrap()).1, End::Exited(0));
    };
    let rounds: Vec<_> = (0..7)
        .map(|_| {
            [
                measure(keeper, bare),
                measure(keeper, supervised),
                measure(keeper, confined),
                measure(own_keeper, alone),
            ]
        })
        .collect();
    let rate = |which: usize| median(rounds.iter().map(|round| 1.0 / round[which].0));
    println!("bash -c true: bare {:.0}/s", rate(0));
    let last = own.namespaces.map_or("confined again", |_| "confined with namespaces");
    for (name, which) in [("supervised", 1), ("confined", 2), (last, 3)] {
        let time = median(rounds.iter().map(|round| round[which].0 / round[0].0));
        let processor = median(rounds.iter().map(|round| round[which].1 / round[0].1));
        println!(
            "{name} {:.0}/s: {time:.2} times as long and {processor:.2} times the processor time (medians of 7 rounds)",
            rate(which)
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds, and seconds of processor time of this process, the zygote and all that they started, for one.
fn measure(keeper: i32, once: impl Fn()) -> (f64, f64) {
    const TIMES: u32 = 100;
    let (start, used) = (Instant::now(), ticks("self") + ticks(&keeper.to_string()));
    (0..TIMES).for_each(|_| once());
    let used = ticks("self") + ticks(&keeper.to_string()) - used;
    (start.elapsed().as_secs_f64() / f64::from(TIMES), f64::from(used))
}

/// Processor time of a process and its reaped children, in the kernel's ticks.
fn ticks(pid: &str) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u32>().unwrap())
        .sum()
}
