//! Directories that cannot be recovered are refused by name, and nothing in them is changed.

use crate::image::{Event, Image};
use crate::support::{Keeping, Scratch, recover_into};
use capture_pipeline::recovery::{Options, recover};
use capture_pipeline::ring_file::reader::{Directory, Purpose};
use capture_pipeline::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NOT_FOUND};
use capture_pipeline::storage::feed::Feed;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn refused(path: &Path) -> Error {
    let kept = Keeping::default();
    let done =
        recover(path, &mut Feed::new(kept.clone()), &Options::default(), |_| panic!("a file was shown"));
    assert_eq!(kept.identities(), []);
    done.expect_err("a directory that cannot be used")
}

fn filled(directory: &Path) {
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.ring(0, 1, 0, 0).push(0, &Event::new(0, b"x"));
    image.write(directory);
}

#[test]
fn a_directory_that_is_none_is_refused_by_name() {
    let scratch = Scratch::new();
    let error = refused(Path::new(""));
    assert_eq!((error.status, error.detail.contains("ring_dir")), (PIPELINE_ERR_INVALID, true), "{error}");
    let missing = scratch.path().join("missing");
    let error = refused(&missing);
    assert_eq!(error.status, PIPELINE_ERR_NOT_FOUND, "{error}");
    assert!(error.detail.contains("missing") && !missing.exists(), "{error}");
    let file = scratch.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let error = refused(&file);
    assert!(error.status == PIPELINE_ERR_INVALID && error.detail.contains("no directory"), "{error}");
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(scratch.path(), &link).unwrap();
    for name in [link.clone(), link.join("")] {
        let error = refused(&name);
        assert!(error.status == PIPELINE_ERR_INVALID && error.detail.contains("symbolic link"), "{error}");
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let scratch = Scratch::new();
    filled(scratch.path());
    for mode in [0o720, 0o702, 0o777, 0o1777] {
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(mode)).unwrap();
        let error = refused(scratch.path());
        let words = format!("(mode {mode:04o})");
        assert!(error.status == PIPELINE_ERR_INVALID && error.detail.contains(&words), "{error}");
        Directory::open(scratch.path(), Purpose::Read).expect_err("not even to read it");
    }
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(recover_into(scratch.path(), Keeping::default()).0.runs, 1);
}

#[test]
fn another_user_s_directory_is_refused_but_can_be_read() {
    // SAFETY: the call has no arguments and does not fail.
    if unsafe { libc::geteuid() } != 0 {
        return; // (Only root can make one.)
    }
    let scratch = Scratch::new();
    filled(scratch.path());
    std::os::unix::fs::chown(scratch.path(), Some(4321), None).unwrap();
    let error = refused(scratch.path());
    assert!(error.status == PIPELINE_ERR_INVALID && error.detail.contains("uid 4321"), "{error}");
    assert_eq!(Directory::open(scratch.path(), Purpose::Read).unwrap().names().unwrap().len(), 1);
    assert_eq!(scratch.names(), ["0000000000000001.rings"]);
}

#[test]
fn names_that_are_not_those_of_ring_files_are_left_alone() {
    let scratch = Scratch::new();
    filled(scratch.path());
    for name in ["lock", "1.rings", "000000000000000G.rings", "0000000000000002.rings~"] {
        std::fs::write(scratch.path().join(name), b"").unwrap();
    }
    let (report, files) = recover_into(scratch.path(), Keeping::default());
    assert_eq!((report.runs, files.len(), scratch.names().len()), (1, 1, 4));
}
