//! Workspaces.

use super::*;
use kruntimes_api::Source;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn run(entrypoint: Option<&str>, inline: Option<&str>) -> Run {
    let mut run = Run::default();
    run.spec.entrypoint = entrypoint.map(ToOwned::to_owned);
    run.spec.source =
        inline.map(|text| Source { inline: Some(text.to_owned()), ..Source::default() });
    run
}

#[test]
fn the_source_stands_where_the_entrypoint_says() {
    let root = crate::testing::directory("workspace-source");
    let workspaces = Workspaces::new(root.clone());
    for (entrypoint, path) in
        [(None, "script"), (Some("a..b/c/d.sh"), "a..b/c/d.sh"), (Some("./x//y"), "x/y")]
    {
        workspaces.prepare("u", &run(entrypoint, Some("echo\n")), None).unwrap();
        let file = root.join("u/work").join(path);
        assert_eq!(fs::read_to_string(&file).unwrap(), "echo\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }
    for wrong in ["/etc/x", "../x", "a/../x", "a/..", ".", ""] {
        let error = workspaces.prepare("u", &run(Some(wrong), Some("")), None).unwrap_err();
        assert!(matches!(error, PrepareError::Entrypoint(_)), "{wrong}: {error}");
    }
}

#[test]
fn each_attempt_begins_with_an_empty_directory_and_leaves_nothing() {
    let root = crate::testing::directory("workspace-fresh");
    let outside = crate::testing::directory("workspace-outside");
    fs::write(outside.join("file"), "stays").unwrap();
    let workspaces = Workspaces::new(root.clone());
    workspaces.prepare("u", &run(None, None), None).unwrap();
    let work = workspaces.working_directory(&workspaces.place("u", &run(None, None)).unwrap());
    fs::create_dir_all(work.join("closed/inner")).unwrap();
    fs::write(work.join("closed/inner/file"), "").unwrap();
    symlink(&outside, work.join("link")).unwrap();
    fs::set_permissions(work.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    workspaces.prepare("u", &run(None, None), None).unwrap();
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
    // A link in place of the workspace itself is removed, not followed.
    workspaces.remove("u").unwrap();
    symlink(&outside, root.join("u")).unwrap();
    drop(workspaces.prepare("u", &run(None, Some("echo")), None));
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "stays");
    assert!(!outside.join("work").exists());
    workspaces.remove("u").unwrap();
    workspaces.remove("u").unwrap();
    assert!(fs::symlink_metadata(root.join("u")).is_err());
}

#[test]
fn what_a_run_left_untouched_is_there_for_the_next_with_nothing_of_the_first() {
    let root = crate::testing::directory("workspace-aside");
    let workspaces = Workspaces::new(root.clone()).keeping(true);
    let inode =
        |uid: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(root.join(uid)).unwrap());
    let scripted = run(Some("a.sh"), Some("echo"));
    workspaces.prepare("u", &scripted, None).unwrap();
    let first = inode("u");
    assert!(workspaces.put_aside("u", &scripted));
    workspaces.prepare("v", &run(None, None), None).unwrap();
    assert_eq!(inode("v"), first);
    assert_eq!(fs::read_dir(root.join("v/work")).unwrap().count(), 0);
    for left in ["work/file", "artifacts/file", "outputs"] {
        workspaces.prepare("u", &run(None, None), None).unwrap();
        fs::write(root.join("u").join(left), "").unwrap();
        assert!(!workspaces.put_aside("u", &run(None, None)), "{left}");
        assert!(root.join("u").join(left).exists(), "{left}");
    }
    let deep = run(Some("a/b.sh"), Some("echo"));
    workspaces.prepare("u", &deep, None).unwrap();
    assert!(!workspaces.put_aside("u", &deep));
}

#[test]
fn only_what_takes_a_moment_is_made_without_another_thread() {
    let root = crate::testing::directory("workspace-soon");
    let workspaces = Workspaces::new(root.clone());
    let sized = |bytes: usize| run(None, Some(&"x".repeat(bytes)));
    assert!(workspaces.is_soon_made("u", &run(None, None)));
    assert!(workspaces.is_soon_made("u", &sized(SMALL_SCRIPT_BYTES)));
    assert!(!workspaces.is_soon_made("u", &sized(SMALL_SCRIPT_BYTES + 1)));
    let mut git = run(None, None);
    let source = Source { repo_url: Some("https://a/b".to_owned()), ..Source::default() };
    git.spec.source = Some(source);
    assert!(!workspaces.is_soon_made("u", &git));
    fs::create_dir(root.join("u")).unwrap();
    assert!(!workspaces.is_soon_made("u", &run(None, None)), "an earlier one may be large");
}

#[test]
fn a_run_can_not_name_a_variable_of_ours() {
    let own = [("A", "2"), ("KRUNTIME_OUTPUTS", "/etc/passwd")];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let environment = environment(&own, Path::new("/w/u/outputs"), None);
    assert_eq!(environment["A"], "2");
    assert_eq!(environment["KRUNTIME_OUTPUTS"], "/w/u/outputs");
    assert_eq!(environment.len(), 2);
}

#[test]
fn runs_of_a_group_work_where_the_one_that_holds_it_does_with_a_script_of_their_own() {
    let root = crate::testing::directory("workspace-shared");
    let workspaces = Workspaces::new(root.clone());
    let mut step = run(None, Some("echo"));
    step.spec.workspace_group = Some("g".to_owned());
    assert!(matches!(workspaces.place("s", &step), Err(PrepareError::Lost)));
    let mut holder = run(None, None);
    holder.spec.workspace_group = step.spec.workspace_group.clone();
    holder.spec.holds_workspace = Some(true);
    workspaces.shared.hold("/g", "h");
    workspaces.prepare("h", &holder, None).unwrap();
    for uid in ["s", "t"] {
        let place = workspaces.place(uid, &step).unwrap();
        workspaces.prepare(uid, &step, None).unwrap();
        assert_eq!(workspaces.working_directory(&place), root.join("h/work"));
        assert_eq!(fs::read_to_string(&place.entrypoint).unwrap(), "echo");
        assert!(place.entrypoint.ends_with(&format!("/{uid}/work/script")), "{place:?}");
        fs::write(root.join("h/work").join(uid), "").unwrap();
        workspaces.remove(uid).unwrap();
    }
    assert_eq!(fs::read_dir(root.join("h/work")).unwrap().count(), 2);
    let mut file = run(Some("a/b.sh"), None);
    file.spec.workspace_group = step.spec.workspace_group;
    assert_eq!(workspaces.place("u", &file).unwrap().entrypoint, "a/b.sh");
}

#[test]
fn a_workspace_in_which_a_run_works_is_given_to_no_other() {
    let root = crate::testing::directory("workspace-review");
    let workspaces = Workspaces::new(root.clone());
    let mut holder = run(None, None);
    holder.spec.workspace_group = Some("g".to_owned());
    holder.spec.holds_workspace = Some(true);
    workspaces.shared.hold("/g", "h");
    workspaces.prepare("h", &holder, None).unwrap();
    let _inside = workspaces.shared.enter("/g");
    // What a process keeps of its working directory, and the kernel's rules of what it may read.
    let working = File::open(root.join("h/work")).unwrap();
    workspaces.shared.let_go("/g", "h");
    let _ = workspaces.put_aside("h", &holder);
    workspaces.prepare("victim", &run(None, Some("echo secret")), None).unwrap();
    let script = openat(&working, "script", OFlags::RDONLY, Mode::empty());
    let read = script.map(|script| io::read_to_string(File::from(script)).unwrap());
    assert_eq!(read.ok(), None, "another Run's script");
}
