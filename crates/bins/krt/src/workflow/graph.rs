//! `krt workflow graph`: which job needs which, as text or as a picture.

use super::args::{GraphArgs, GraphFormat};
use super::{build, show};
use crate::failure::Failure;
use crate::home::Home;
use crate::table;
use kruntimes_api::{JobPhase, Workflow};
use kruntimes_workflow::Plan;
use std::collections::BTreeMap;

/// Of a box, and between boxes: pixels.
const WIDTH: usize = 180;
const HEIGHT: usize = 44;
const GAP_X: usize = 70;
const GAP_Y: usize = 22;
const MARGIN: usize = 20;
/// Characters of a name that a box has room for.
const NAME_CHARS: usize = 20;

/// Draws the graph of a Workflow, or of a file.
pub(super) async fn graph(home: &Home, args: &GraphArgs) -> Result<(), Failure> {
    let workflow = match (&args.file, &args.name) {
        (Some(path), _) => {
            let object = build::of_file(path)?;
            serde_json::from_value(object)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?
        }
        (None, Some(name)) => show::read(home, &home.namespace, name).await?,
        (None, None) => return Err(Failure::usage("name a Workflow, or a file with -f")),
    };
    let graph = Graph::of(&workflow)?;
    table::print(&match args.output {
        GraphFormat::Text => graph.text(),
        GraphFormat::Svg => graph.svg(),
    })
}

struct Node {
    name: String,
    needs: Vec<usize>,
    /// How many jobs one behind the other come before it.
    level: usize,
    detail: String,
    phase: Option<JobPhase>,
}

struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    fn of(workflow: &Workflow) -> Result<Self, Failure> {
        let plan = Plan::of(&workflow.spec).map_err(|wrong| Failure {
            lines: wrong.iter().map(ToString::to_string).collect(),
            code: crate::failure::SYSTEM,
        })?;
        let last: Vec<usize> = (0..plan.jobs.len()).filter(|id| !plan.jobs[*id].finally).collect();
        let mut nodes: Vec<Node> = Vec::new();
        for job in &plan.jobs {
            let spec = &workflow.spec.jobs[&job.name];
            let mut detail = match (&spec.uses, spec.steps.len()) {
                (Some(uses), _) => format!("uses {uses}"),
                (None, 1) => "1 step".to_owned(),
                (None, count) => format!("{count} steps"),
            };
            if spec.strategy.is_some() {
                detail.push_str(", matrix");
            }
            if job.finally {
                detail.push_str(", finally");
            }
            let status = workflow.status.as_ref().and_then(|status| status.jobs.get(&job.name));
            let needs =
                if job.finally && job.needs.is_empty() { last.clone() } else { job.needs.clone() };
            let phase = status.map(|status| status.phase);
            nodes.push(Node { name: job.name.clone(), needs, level: 0, detail, phase });
        }
        let mut graph = Self { nodes };
        graph.set_levels();
        Ok(graph)
    }

    /// The plan has no circle: after as many rounds as there are jobs nothing changes any more.
    fn set_levels(&mut self) {
        for _ in 0..self.nodes.len() {
            for id in 0..self.nodes.len() {
                let behind =
                    self.nodes[id].needs.iter().map(|need| self.nodes[*need].level + 1).max();
                self.nodes[id].level = behind.unwrap_or(0);
            }
        }
    }

    fn text(&self) -> String {
        let mut order: Vec<&Node> = self.nodes.iter().collect();
        order.sort_by_key(|node| (node.level, node.name.clone()));
        let mut text = String::new();
        for node in order {
            let mark = node.phase.map_or('○', super::tree::mark);
            text.push_str(&format!(
                "{}{mark} {}  ({})",
                "  ".repeat(node.level),
                node.name,
                node.detail
            ));
            if !node.needs.is_empty() {
                let needs: Vec<&str> =
                    node.needs.iter().map(|need| self.nodes[*need].name.as_str()).collect();
                text.push_str(&format!("  needs {}", needs.join(", ")));
            }
            text.push('\n');
        }
        text
    }

    fn svg(&self) -> String {
        let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
        let mut places = Vec::new();
        for node in &self.nodes {
            let row = rows.entry(node.level).or_default();
            places.push((MARGIN + node.level * (WIDTH + GAP_X), MARGIN + *row * (HEIGHT + GAP_Y)));
            *row += 1;
        }
        let columns = rows.len().max(1);
        let most = rows.values().copied().max().unwrap_or(1);
        let width = 2 * MARGIN + columns * (WIDTH + GAP_X) - GAP_X;
        let height = 2 * MARGIN + most * (HEIGHT + GAP_Y) - GAP_Y;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n"
        );
        for (node, to) in self.nodes.iter().zip(&places) {
            for need in &node.needs {
                let (x1, y1) = (places[*need].0 + WIDTH, places[*need].1 + HEIGHT / 2);
                let (x2, y2) = (to.0, to.1 + HEIGHT / 2);
                let middle = usize::midpoint(x1, x2);
                svg.push_str(&format!(
                    "  <path d=\"M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}\" fill=\"none\" stroke=\"#888\"/>\n"
                ));
            }
        }
        for (node, (x, y)) in self.nodes.iter().zip(&places) {
            svg.push_str(&node.svg(*x, *y));
        }
        svg + "</svg>\n"
    }
}

impl Node {
    /// Names of jobs have nothing in them that XML takes for more than text.
    fn svg(&self, x: usize, y: usize) -> String {
        let fill = match self.phase {
            Some(JobPhase::Succeeded) => "#d7f5dd",
            Some(JobPhase::Failed) => "#fbd5d5",
            Some(JobPhase::Running) => "#d6e6fb",
            Some(JobPhase::Cancelled) => "#f5e6cc",
            Some(JobPhase::Skipped | JobPhase::Pending | JobPhase::Waiting) | None => "#f2f2f2",
        };
        let mut name: String = self.name.chars().take(NAME_CHARS).collect();
        if name.len() < self.name.len() {
            name.push('…');
        }
        format!(
            "  <g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{fill}\" \
             stroke=\"#888\"/><text x=\"{}\" y=\"{}\" font-size=\"14\">{name}</text><text x=\"{}\" y=\"{}\" \
             font-size=\"11\" fill=\"#555\">{}</text></g>\n",
            self.name,
            x + 10,
            y + 19,
            x + 10,
            y + 35,
            self.detail
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;
    use kruntimes_api::Workflow;
    use serde_json::json;

    fn graph() -> Graph {
        let step = json!([{"name": "s", "run": "true"}]);
        let workflow: Workflow = serde_json::from_value(json!({"metadata": {"name": "w"}, "spec": {
            "finally": ["clean"],
            "jobs": {
                "build": {"runs-on": "bash", "steps": step},
                "clean": {"runs-on": "bash", "steps": step},
                "test": {"runs-on": "bash", "needs": ["build"], "steps": step, "strategy": {"matrix": {"os": ["a", "b"]}}},
            }
        }}))
        .unwrap();
        Graph::of(&workflow).unwrap()
    }

    #[test]
    fn jobs_stand_behind_those_that_they_need() {
        assert_eq!(
            graph().text(),
            "○ build  (1 step)\n  ○ test  (1 step, matrix)  needs build\n    ○ clean  (1 step, finally)  needs build, test\n"
        );
    }

    #[test]
    fn the_picture_has_a_box_for_each_job_and_a_line_for_each_need() {
        let svg = graph().svg();
        assert_eq!(svg.matches("<rect ").count(), 3);
        assert_eq!(svg.matches("<path ").count(), 3);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
