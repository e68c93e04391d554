//! What a handler of Python returns becomes outputs, as runtimed reads them.

use crate::fixture::{Fixture, Seen, request};
use kruntimes_proto::executor::v1::ExecuteRequest;
use kruntimes_rules::run::outputs::{Outputs, parse};

const JOBS: &str = r#"
import os
def file(text):
    with open(os.environ["KRUNTIME_OUTPUTS"], "a", newline="") as file:
        file.write(text)
def plain(event): return {"a": "1", "text": "x\n\n#y=\r\n  END\nEND\n", "n.o_p-E": "", "é".join("EE")[:1]: "é\r"}
def beside(event):
    file("own=1\na=old")
    return {"a": "new"}
def number(event): return {"a": "1", "b": 2}
def listed(event): return ["a"]
def empty(event): return {}
def fooled(event):
    os.environ["KRUNTIME_OUTPUTS"] = "/nowhere/at/all"
    return {"a": "1"}
def wrong(event): return {"a b": "1"}
def injects(event): return {"a=1\nb": "2"}
def broken(event): return {"a": "\ud800"}
"#;

impl Fixture {
    async fn call(&mut self, id: &str, function: &str, new: bool) -> (Seen, Option<Outputs>) {
        self.write(id, "jobs.py", JOBS);
        let path = self.workspace().join(id).join("outputs");
        let handler = format!("jobs.{function}");
        let mut request = ExecuteRequest { handler, ..request(id, &[]) };
        request.env.insert("KRUNTIME_OUTPUTS".to_owned(), path.display().to_string());
        if new {
            request.env.insert("PYTHONHASHSEED".to_owned(), "0".to_owned());
        }
        let seen = self.run(request).await;
        let outputs = std::fs::read(path).ok().map(|file| parse(&file).unwrap());
        (seen, outputs)
    }
}

fn named(outputs: &[(&str, &str)]) -> Option<Outputs> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Some(outputs.iter().map(owned).collect())
}

pub(crate) async fn a_handler_that_returns_a_dict_of_strings_gives_them_out(mut fixture: Fixture) {
    let text = "x\n\n#y=\r\n  END\nEND\n";
    let plain = named(&[("a", "1"), ("text", text), ("n.o_p-E", ""), ("E", "é\r")]);
    let cases = [
        ("plain", plain),
        ("beside", named(&[("own", "1"), ("a", "new")])),
        ("fooled", named(&[("a", "1")])),
        ("number", None),
        ("listed", None),
        ("empty", None),
    ];
    for new in [false, true] {
        for (function, want) in &cases {
            let (seen, outputs) = fixture.call(&format!("{function}-{new}"), function, new).await;
            assert_eq!((seen.exit(), &outputs), ((0, 0, ""), want), "{function}: {seen:?}");
            assert!(seen.stdout().ends_with("\n"), "it is printed too: {seen:?}");
        }
    }
    for (function, want) in [
        ("wrong", "the key 'a b' of the dict that it returned can't be the name of an output"),
        ("injects", "the key 'a=1\\nb' of the dict that it returned can't be the name"),
        ("broken", "what it returned can't be written to $KRUNTIME_OUTPUTS: 'utf-8' codec can't"),
    ] {
        let (seen, outputs) = fixture.call(function, function, false).await;
        let stderr = String::from_utf8(seen.stderr.clone()).unwrap();
        assert_eq!((seen.exit(), outputs), ((1, 0, "exit status 1"), None), "{function}");
        assert!(stderr.starts_with(&format!("handler 'jobs.{function}': {want}")), "{stderr}");
    }
}
