//! What is sent comes back as it was.

use super::*;
use crate::{Confinement, View};
use std::sync::Arc;

fn command(args: &[&[u8]], confinement: Option<Confinement>) -> Command {
    Command {
        program: c"/bin/bash".to_owned(),
        working_dir: c"/w".to_owned(),
        args: args.iter().map(|bytes| CString::new(*bytes).unwrap()).collect(),
        env: [c"A=1", c"B="].map(CStr::to_owned).into(),
        confinement: confinement.map(Arc::new),
        allowance: Allowance {
            processes: Some(7),
            places: vec![c"/w/p".to_owned()],
            ..Allowance::default()
        },
    }
}

#[test]
fn a_command_keeps_every_byte() {
    let command = command(&[b"bash", b"-c", b"", b"a\n\xff  b"], None);
    let bytes = encode_command(&command);
    let parsed = parse_command(&bytes).unwrap();
    let Parsed { program, working_dir, bounding, allowance, .. } = parsed;
    let all = |strings: &[CString]| strings.to_vec();
    let own = |strings: Vec<&CStr>| strings.into_iter().map(CStr::to_owned).collect::<Vec<_>>();
    assert_eq!((program.path, working_dir), (c"/bin/bash", c"/w"));
    assert_eq!(own(program.args), all(&command.args));
    assert_eq!(own(program.env), all(&command.env));
    assert_eq!(bounding, Bounding { network: None, has_rules: false, has_view: false });
    assert_eq!(allowance, command.allowance);
}

#[test]
fn bounds_come_back_as_sent() {
    for network in [Network::Full, Network::None] {
        for has_rules in [false, true] {
            let files = has_rules.then(|| std::fs::File::open("/").unwrap().into());
            let confinement = Confinement { files, network, view: None };
            let bytes = encode_command(&command(&[], Some(confinement)));
            let bounding = parse_command(&bytes).unwrap().bounding;
            let network = Some(network);
            assert_eq!(bounding, Bounding { network, has_rules, has_view: false });
        }
    }
}

fn with_view() -> Command {
    let steps =
        vec![(c"cover".to_owned(), c"/h".to_owned()), (c"/h/u".to_owned(), c"/h/u".to_owned())];
    let view = Some(View { steps, memory_bytes: 5 << 40 });
    command(&[b"bash"], Some(Confinement { files: None, network: Network::Full, view }))
}

#[test]
fn a_view_comes_back_as_sent() {
    let bytes = encode_command(&with_view());
    let parsed = parse_command(&bytes).unwrap();
    assert!(parsed.bounding.has_view);
    assert_eq!(parsed.steps, [(c"cover", c"/h"), (c"/h/u", c"/h/u")]);
    assert_eq!(parsed.memory_bytes, 5 << 40);
}

#[test]
fn a_cut_command_is_refused() {
    let bytes = encode_command(&with_view());
    for length in 0..bytes.len() {
        assert!(parse_command(&bytes[..length]).is_none(), "{length} bytes");
    }
}

#[test]
fn reports_come_back_as_sent() {
    let stages = [Stage::Supervisor, Stage::Namespaces, Stage::WorkingDirectory, Stage::Execute];
    let ends = stages.map(|stage| End::NotStarted { stage, errno: 2 });
    let excesses =
        [Excess::Memory(3 << 30), Excess::Processes(9), Excess::Disk(4096), Excess::Uncounted]
            .map(End::Exceeded);
    let ended = ends
        .into_iter()
        .chain(excesses)
        .chain([End::Exited(7), End::Signaled(9)])
        .map(Report::Ended);
    for report in ended.chain([Report::Started(42)]) {
        assert_eq!(parse_report(encode_report(report)), Some(report));
    }
}

#[test]
fn places_arrive_as_they_were_sent() {
    let (a, b) = ([c"/a".to_owned(), c"/b c".to_owned()], [c"/w".to_owned()]);
    for (covers, writable) in [(&a[..], &b[..]), (&a, &[]), (&[], &b), (&[], &[])] {
        let bytes = encode_places(covers, writable);
        let (first, second) = parse_places(&bytes).unwrap();
        assert_eq!(first, covers.iter().map(|it| it.as_c_str()).collect::<Vec<_>>());
        assert_eq!(second, writable.iter().map(|it| it.as_c_str()).collect::<Vec<_>>());
        assert!(parse_places(&bytes[..bytes.len() - 1]).is_none(), "a part is none");
    }
}
