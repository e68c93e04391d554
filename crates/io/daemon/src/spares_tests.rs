//! What is used again, and what is not.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

const LAYOUT: Layout = Layout { mode: 0o755, inner: &[("kept", 0o750), ("work", 0o755)] };

fn place(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("kruntimes-spares-{name}-{}", std::process::id()));
    drop(crate::remove_tree(&root));
    fs::create_dir_all(&root).unwrap();
    root
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

/// Takes one, lets somebody do something with it, and hands it back.
fn used(root: &Path, spares: &Spares, touch: impl FnOnce(&Path)) -> bool {
    let own = spares.take("a").unwrap();
    spares.seal("a", &own);
    touch(&root.join("a"));
    let back = spares.give_back("a", None);
    assert_eq!(back, !root.join("a").exists(), "what was not kept is still there");
    crate::remove_tree(&root.join("a")).unwrap();
    back
}

#[test]
fn what_nobody_touched_is_used_again() {
    let root = place("again");
    let spares = Spares::new(&root, LAYOUT);
    drop(spares.take("first").unwrap());
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("first/kept"), mode("first/work")), (0o750, 0o755));
    assert!(!spares.give_back("first", None), "it was not sealed");
    assert!(used(&root, &spares, |_| {}));
    let own = spares.take("b").unwrap();
    spares.seal("b", &own);
    let first = inode(&root.join("b"));
    assert!(spares.give_back("b", None));
    drop(spares.take("c").unwrap());
    assert_eq!(inode(&root.join("c")), first);
    assert_eq!(fs::read_dir(root.join("c")).unwrap().count(), 2);
    spares.take("c").unwrap_err();
}

#[test]
fn what_somebody_touched_is_not() {
    let root = place("touched");
    let spares = Spares::new(&root, LAYOUT);
    let mode = |path: PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    assert!(!used(&root, &spares, |own| fs::write(own.join("outputs"), "a=b").unwrap()));
    assert!(!used(&root, &spares, |own| fs::write(own.join("work/file"), "").unwrap()));
    assert!(!used(&root, &spares, |own| symlink("/", own.join("kept/link")).unwrap()));
    assert!(!used(&root, &spares, |own| mode(own.join("work"), 0o777)));
    assert!(!used(&root, &spares, |own| mode(own.to_owned(), 0o700)));
    assert!(!used(&root, &spares, |own| fs::remove_dir(own.join("work")).unwrap()));
    assert!(!used(&root, &spares, |own| {
        fs::remove_dir(own.join("work")).unwrap();
        symlink("/", own.join("work")).unwrap();
    }));
    // Of its own making, with everything as it was but the directory itself.
    assert!(!used(&root, &spares, |own| {
        fs::rename(own, own.with_extension("mine")).unwrap();
        for inner in ["kept", "work"] {
            fs::create_dir_all(own.join(inner)).unwrap();
        }
        mode(own.join("kept"), 0o750);
    }));
    let name = c"user.x";
    assert!(!used(&root, &spares, |own| {
        rustix::fs::setxattr(own, name, b"1", rustix::fs::XattrFlags::empty()).unwrap();
    }));
    assert!(!used(&root, &spares, |own| {
        // Gone again: the time of the change stays.
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(20) {
            fs::write(own.join("work/file"), "").unwrap();
            fs::remove_file(own.join("work/file")).unwrap();
        }
    }));
}

#[test]
fn the_file_that_was_put_there_goes_alone() {
    let root = place("file");
    let spares = Spares::new(&root, LAYOUT);
    for (left, again) in [(None, true), (Some("work/other"), false)] {
        let own = spares.take("a").unwrap();
        fs::write(root.join("a/work/script"), "exit 3").unwrap();
        spares.seal("a", &own);
        left.iter().for_each(|path| fs::write(root.join("a").join(path), "").unwrap());
        assert_eq!(spares.give_back("a", Some(("work", "script"))), again, "{left:?}");
    }
}

#[test]
fn a_link_on_the_way_to_the_file_leads_nowhere() {
    let (root, outside) = (place("way"), place("way-outside"));
    fs::write(outside.join("journal"), "").unwrap();
    let spares = Spares::new(&root, LAYOUT);
    let own = spares.take("a").unwrap();
    fs::create_dir_all(root.join("a/work/x/y")).unwrap();
    fs::write(root.join("a/work/x/y/journal"), "").unwrap();
    spares.seal("a", &own);
    crate::remove_tree(&root.join("a/work/x/y")).unwrap();
    symlink(&outside, root.join("a/work/x/y")).unwrap();
    assert!(!spares.give_back("a", Some(("work", "x/y/journal"))));
    assert!(outside.join("journal").exists(), "a file of somebody else's is gone");
}

#[test]
fn what_is_changed_while_it_waits_is_thrown_away() {
    let root = place("waits");
    let spares = Spares::new(&root, LAYOUT);
    let own = spares.take("a").unwrap();
    spares.seal("a", &own);
    assert!(spares.give_back("a", None));
    let spare = fs::read_dir(&root).unwrap().flatten().next().unwrap().path();
    fs::set_permissions(spare.join("work"), fs::Permissions::from_mode(0o000)).unwrap();
    drop(spares.take("b").unwrap());
    let mode = fs::metadata(root.join("b/work")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(!spare.exists());
}

#[test]
fn flags_count_and_what_is_forgotten_does_not_come_back() {
    let root = place("flags");
    let spares = Spares::new(&root, LAYOUT);
    let own = spares.take("a").unwrap();
    spares.seal("a", &own);
    let work = fs::File::open(root.join("a/work")).unwrap();
    let flags = ioctl_getflags(&work);
    // tmpfs knows this one as well.
    let set = flags
        .and_then(|flags| rustix::fs::ioctl_setflags(&work, flags | rustix::fs::IFlags::NODUMP));
    assert_eq!(spares.give_back("a", None), set.is_err());
    let own = spares.take("b").unwrap();
    spares.seal("b", &own);
    spares.forget("b");
    assert!(!spares.give_back("b", None));
}

#[test]
fn a_link_in_its_place_leads_nowhere() {
    let (root, outside) = (place("link"), place("link-outside"));
    fs::create_dir_all(outside.join("work")).unwrap();
    fs::write(outside.join("work/script"), "").unwrap();
    let spares = Spares::new(&root, LAYOUT);
    let own = spares.take("a").unwrap();
    spares.seal("a", &own);
    crate::remove_tree(&root.join("a")).unwrap();
    symlink(&outside, root.join("a")).unwrap();
    assert!(!spares.give_back("a", Some(("work", "script"))));
    assert!(outside.join("work/script").exists());
}

#[test]
fn a_bounded_number_waits_and_what_an_earlier_life_left_goes() {
    let root = place("bounded");
    let spares = Spares::new(&root, LAYOUT);
    let names: Vec<_> = (0..=MOST).map(|index| index.to_string()).collect();
    for name in &names {
        let own = spares.take(name).unwrap();
        spares.seal(name, &own);
    }
    let kept: Vec<_> = names.iter().map(|name| spares.give_back(name, None)).collect();
    assert!(kept[..MOST].iter().all(|kept| *kept));
    assert!(!kept[MOST], "one more than wait at most");
    drop(Spares::new(&root, LAYOUT));
    let left: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|it| it.file_name()).collect();
    assert_eq!(left, [MOST.to_string().as_str()]);
}
