//! What an expression says that it reads.

use kruntimes_expressions::{Expression, Template};

#[test]
fn paths_are_known_as_far_as_they_need_no_evaluation() {
    for (text, expected) in [
        ("plain", ""),
        ("${{ 'steps.build.outputs.x' }}", ""),
        ("${{ steps.build.outputs.x }}", "steps/build/outputs/x@1:5"),
        ("${{ steps['build'].outputs['x.y'] }}", "steps/build/outputs/x.y@1:5"),
        ("${{ needs }}", "needs@1:5"),
        ("${{ needs.*.outputs.x }}", "needs…@1:5"),
        ("${{ matrix.list[0].name }}", "matrix/list…@1:5"),
        ("${{ needs[matrix.os].outputs.y }}", "needs…@1:5 matrix/os@1:11"),
        ("${{ (needs.a).outputs.y }}", "needs/a/outputs/y@1:6"),
        ("${{ (needs.a || needs.b).outputs.y }}", "needs/a@1:6 needs/b@1:17"),
        (
            "é${{ env.A && !env.B }}\n ${{ join(inputs.a, env.C) == 1 }}",
            "env/A@1:6 env/B@1:16 inputs/a@2:11 env/C@2:21",
        ),
        ("${{ 'é\n' || env.A }}", "env/A@2:6"),
        (
            "${{ fromJSON(jobs.a.outputs.z)[workflow.n].x }}",
            "jobs/a/outputs/z@1:14 workflow/n@1:32",
        ),
        ("${{ inputs.a == inputs.a }}", "inputs/a@1:5 inputs/a@1:17"),
    ] {
        let references = Template::parse(text).unwrap().references();
        let shown: Vec<String> = references
            .iter()
            .map(|found| {
                let more = if found.goes_on { "…" } else { "" };
                let position = found.position;
                format!("{}{more}@{}:{}", found.path.join("/"), position.line, position.column)
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{text}");
    }
    let condition = Expression::parse("\n${{ success() &&\n  steps.a.outputs.b }}").unwrap();
    let [reference] = condition.references().try_into().unwrap();
    assert_eq!((reference.position.offset, reference.position.line), (20, 3));
    assert_eq!(reference.position.column, 3);
    assert_eq!(condition.source(), "success() &&\n  steps.a.outputs.b");
}

#[test]
fn a_text_knows_its_expressions() {
    let template = Template::parse("a ${{ env.A }} b ${{success()}}").unwrap();
    let sources: Vec<&str> = template.expressions().map(Expression::source).collect();
    assert_eq!(sources, ["env.A", "success()"]);
    assert!(template.uses_status() && !template.is_literal());
    let template = Template::parse("a ${{ env.A }}").unwrap();
    assert!(!template.uses_status() && !template.is_literal());
    assert!(Template::parse("a }} $").unwrap().is_literal());
}
