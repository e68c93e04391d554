//! Random histories: the board must decide as a model that looks at every Run and every pod each time.

use super::answers::ANSWER_WITHIN;
use super::pool::HOLD_AFTER;
use super::tests::{START, pool, run_with};
use super::*;
use crate::capacity::Resources;
use crate::random::Random;
use kruntimes_api::Run;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// runs, gpu, tpu.
type Amounts = [u64; 3];

#[derive(Debug, Clone)]
struct ModelPod {
    name: String,
    incarnation: u64,
    ready: bool,
    has: Amounts,
}

#[derive(Debug, Clone)]
struct ModelRun {
    name: String,
    asks: Amounts,
    since: Duration,
    /// Name and incarnation.
    on: Option<(String, u64)>,
    /// When its assignment was acknowledged.
    assigned: Option<Duration>,
    answered: bool,
}

#[derive(Debug, Default)]
struct Model {
    spec: Amounts,
    pods: Vec<ModelPod>,
    runs: Vec<ModelRun>,
    hold: Option<(String, String)>,
    broken: BTreeSet<String>,
    now: Duration,
}

impl Model {
    fn is_open(&self, pod: &ModelPod) -> bool {
        let here = (pod.name.clone(), pod.incarnation);
        let late = |run: &ModelRun| {
            let due = run.assigned.map(|at| at + ANSWER_WITHIN);
            run.on.as_ref() == Some(&here)
                && !run.answered
                && due.is_some_and(|due| due <= self.now)
        };
        pod.ready && !self.broken.contains(&pod.name) && !self.runs.iter().any(late)
    }

    fn used(&self, pod: &ModelPod) -> Amounts {
        let mut used = [0; 3];
        let here = |run: &&ModelRun| run.on == Some((pod.name.clone(), pod.incarnation));
        for run in self.runs.iter().filter(here) {
            (0..3).for_each(|index| used[index] += run.asks[index]);
        }
        used
    }

    fn best(&self, run: &ModelRun) -> Option<&ModelPod> {
        let barred = self.hold.as_ref().filter(|(holder, _)| *holder != run.name);
        let fits = |pod: &&ModelPod| {
            let used = self.used(pod);
            self.is_open(pod)
                && barred.is_none_or(|(_, held)| *held != pod.name)
                && (0..3).all(|index| {
                    run.asks[index] == 0 || used[index] + run.asks[index] <= pod.has[index]
                })
        };
        self.pods.iter().filter(fits).min_by_key(|pod| self.rank(pod))
    }

    fn rank(&self, pod: &ModelPod) -> (std::cmp::Reverse<u64>, u64, String) {
        let used = self.used(pod)[0];
        (std::cmp::Reverse(pod.has[0].saturating_sub(used)), used, pod.name.clone())
    }

    fn roomy(&self, run: &ModelRun) -> Option<String> {
        let could = |pod: &&ModelPod| self.is_open(pod) && covers(pod.has, run.asks);
        let found = self.pods.iter().filter(could).min_by_key(|pod| self.rank(pod));
        found.map(|pod| pod.name.clone())
    }

    fn decide(&mut self, now: Duration) -> Vec<String> {
        let mut decided = self.refuse();
        loop {
            let valid = self.hold.clone().filter(|(holder, held)| {
                let run = self.runs.iter().find(|run| run.name == *holder && run.on.is_none());
                let pod = self.pods.iter().find(|pod| pod.name == *held && self.is_open(pod));
                run.is_some_and(|run| pod.is_some_and(|pod| covers(pod.has, run.asks)))
            });
            self.hold = valid;
            let mut found = None;
            for index in 0..self.runs.len() {
                let run = self.runs[index].clone();
                if run.on.is_some() {
                    continue;
                }
                if let Some(pod) = self.best(&run) {
                    found = Some((index, pod.name.clone(), pod.incarnation));
                    break;
                }
                if self.hold.is_none() && now - run.since >= HOLD_AFTER {
                    self.hold = self.roomy(&run).map(|pod| (run.name.clone(), pod));
                }
            }
            let Some((index, name, incarnation)) = found else { return decided };
            decided.push(format!("{}@{name}", self.runs[index].name));
            self.runs[index].on = Some((name, incarnation));
        }
    }

    fn refuse(&mut self) -> Vec<String> {
        let kinds: Vec<Amounts> = self.pods.iter().map(|pod| pod.has).chain([self.spec]).collect();
        let hopeless =
            |run: &ModelRun| run.on.is_none() && !kinds.iter().any(|has| covers(*has, run.asks));
        let (out, kept) = self.runs.drain(..).partition::<Vec<_>, _>(hopeless);
        self.runs = kept;
        let mut names: Vec<String> =
            out.into_iter().map(|run| format!("{} refused", run.name)).collect();
        names.sort();
        names
    }
}

fn covers(has: Amounts, asks: Amounts) -> bool {
    (0..3).all(|index| asks[index] <= has[index])
}

fn resources([runs, gpu, tpu]: Amounts) -> Resources {
    Resources::runs(u32::try_from(runs).unwrap()).with("gpu", gpu).with("tpu", tpu)
}

fn view(pod: &ModelPod) -> PodView {
    PodView {
        pool: pool("default"),
        pod: PodRef { name: pod.name.clone(), uid: format!("{}-{}", pod.name, pod.incarnation) },
        health: if pod.ready { PodHealth::Ready } else { PodHealth::NotReady },
        capacity: resources(pod.has),
    }
}

fn run_of(run: &ModelRun) -> Arc<Run> {
    let [runs, gpu, tpu] = run.asks;
    let spec = json!({"resources": {"requests": {"runs": runs, "gpu": gpu, "tpu": tpu}}});
    run_with("default", &run.name, 1, spec, json!({"phase": "Pending"}))
}

fn stored(run: &ModelRun, phase: &str) -> Arc<Run> {
    let [runs, gpu, tpu] = run.asks;
    let spec = json!({"resources": {"requests": {"runs": runs, "gpu": gpu, "tpu": tpu}}});
    let (pod, incarnation) = run.on.clone().unwrap();
    let uid = format!("{pod}-{incarnation}");
    let status = json!({"phase": phase, "assignedPod": pod, "assignedPodUID": uid, "attempt": 1});
    run_with("default", &run.name, 2, spec, status)
}

fn key(name: &str) -> RunKey {
    RunKey { namespace: "default".to_owned(), name: name.to_owned() }
}

struct History {
    random: Random,
    model: Model,
    board: Board,
    now: Duration,
    count: u64,
}

impl History {
    fn amounts(&mut self) -> Amounts {
        [1 + self.random.below(3), self.random.below(3), self.random.below(2)]
    }

    fn step(&mut self) {
        self.count += 1;
        self.now += Duration::from_millis(self.random.below(3) * 1_500);
        self.model.now = self.now;
        match self.random.below(16) {
            0..5 => self.submit(),
            5..8 => self.end(),
            8 => self.lose_or_change_a_pod(),
            9..11 => self.add_pod(),
            11..13 => self.acknowledge(),
            13 => self.answer(),
            14 => self.break_or_mend(),
            _ => self.model.spec = self.amounts(),
        }
        // Whatever happened, the board looks again, as the model does.
        let view = RuntimeView::Usable(resources(self.model.spec));
        self.board.set_runtime(pool("default"), view);
    }

    fn submit(&mut self) {
        let asks = if self.random.below(2) == 0 { [1, 0, 0] } else { self.amounts() };
        let name = format!("r{:04}", self.count);
        let run =
            ModelRun { name, asks, since: self.now, on: None, assigned: None, answered: false };
        self.board.set_run(run_of(&run), self.now, START);
        self.model.runs.push(run);
    }

    /// A Run ends or, while it waits, is deleted.
    fn end(&mut self) {
        let count = self.model.runs.len() as u64;
        if count > 0 {
            let index = usize::try_from(self.random.below(count)).unwrap();
            let run = self.model.runs.remove(index);
            self.board.drop_run(&key(&run.name));
        }
    }

    /// The API server has stored an assignment.
    fn acknowledge(&mut self) {
        let now = self.now;
        let mut placed = self.model.runs.iter_mut();
        if let Some(run) = placed.find(|run| run.on.is_some() && run.assigned.is_none()) {
            run.assigned = Some(now);
            self.board.assigned(stored(run, "Scheduled"), Some("1"), now, START);
        }
    }

    /// A pod has begun a Run.
    fn answer(&mut self) {
        let mut placed = self.model.runs.iter_mut();
        if let Some(run) = placed.find(|run| run.assigned.is_some() && !run.answered) {
            run.answered = true;
            self.board.set_run(stored(run, "Running"), self.now, START);
        }
    }

    fn break_or_mend(&mut self) {
        let name = format!("p{}", self.random.below(6));
        if self.model.broken.remove(&name) {
            self.board.mend_pod(pool("default"), &name);
        } else {
            self.board.bar_pod(pool("default"), &name);
            self.model.broken.insert(name);
        }
    }

    fn add_pod(&mut self) {
        if self.model.pods.len() < 4 {
            let name = format!("p{}", self.random.below(6));
            if self.model.pods.iter().all(|pod| pod.name != name) {
                let has = if self.random.below(2) == 0 { self.model.spec } else { self.amounts() };
                let pod = ModelPod { name, incarnation: self.count, ready: true, has };
                self.board.set_pod(&view(&pod));
                self.model.pods.push(pod);
            }
        }
    }

    fn lose_or_change_a_pod(&mut self) {
        let count = self.model.pods.len() as u64;
        if count == 0 {
            return;
        }
        let index = usize::try_from(self.random.below(count)).unwrap();
        if self.random.below(3) == 0 {
            let pod = self.model.pods.remove(index);
            self.board.drop_pod(&pool("default"), &pod.name);
            return;
        }
        let pod = &mut self.model.pods[index];
        pod.ready = !pod.ready;
        self.board.set_pod(&view(pod));
    }

    fn check(&mut self, seed: u64) -> usize {
        let expected = self.model.decide(self.now);
        let mut decided = Vec::new();
        let mut refused = Vec::new();
        for decision in self.board.decide(self.now, START, 1000) {
            match decision {
                Decision::Assign { run, pod, .. } => {
                    decided.push(format!("{}@{}", RunKey::of(&run).name, pod.name));
                }
                Decision::Refuse { run, .. } => {
                    refused.push(format!("{} refused", RunKey::of(&run).name));
                    self.board.drop_run(&RunKey::of(&run));
                }
                Decision::Wait { .. } => {}
                Decision::Cancel { .. } => panic!("seed {seed}: nobody cancels"),
            }
        }
        refused.sort();
        refused.extend(decided);
        assert_eq!(refused, expected, "seed {seed}, step {}: {:#?}", self.count, self.model);
        for pod in &self.model.pods {
            assert!(
                covers(pod.has, self.model.used(pod)),
                "seed {seed}: {pod:?} is over its capacity"
            );
        }
        refused.len()
    }
}

#[test]
fn the_board_decides_as_the_model_does() {
    let mut decisions = 0;
    let mut holds = 0;
    let mut closed = 0;
    for seed in 1..=150 {
        let mut history = History {
            random: Random(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15)),
            model: Model { spec: [2, 1, 0], ..Model::default() },
            board: Board::default(),
            now: Duration::ZERO,
            count: 0,
        };
        for _ in 0..180 {
            history.step();
            decisions += history.check(seed);
            holds += usize::from(history.model.hold.is_some());
            let model = &history.model;
            closed += model.pods.iter().filter(|pod| pod.ready && !model.is_open(pod)).count();
        }
    }
    assert!(decisions > 4_000, "the histories decide: {decisions}");
    assert!(closed > 1_000, "the histories close pods: {closed}");
    assert!(holds > 400, "the histories hold pods: {holds}");
}
