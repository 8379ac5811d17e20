//! Directories prepared by others, and other users of the machine: links are not followed, files are not readable for them.

use crate::support::*;
use capture_pipeline::status::{PIPELINE_ERR_INVALID, PIPELINE_ERR_STORAGE};
use capture_pipeline::storage::PIPELINE_STORE_OK;
use capture_pipeline::storage::journal::{JournalStorage, Options};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").mode() & 0o7777
}

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let error = JournalStorage::open(path, Options::default()).err().expect("refused");
    assert_eq!(error.status, PIPELINE_ERR_STORAGE);
    for word in words.iter().chain([&path.to_str().expect("text").trim_end_matches('/')]) {
        assert!(error.detail.contains(word), "{word:?} is missing in {:?}", error.detail);
    }
}

#[test]
fn the_files_have_the_permissions_that_were_asked_for_and_no_others() {
    let scratch = Scratch::new();
    for (name, umask, file_mode, directory) in [
        ("open", 0, 0o600, 0o700),
        ("closed", 0o777, 0o600, 0o700),
        ("group", 0o077, 0o660, 0o750),
        ("all", 0o022, 0o666, 0o755),
    ] {
        let path = scratch.file(name);
        in_a_child(|| {
            // SAFETY: the calls change only this process's umask and ids. Root may do everything, so another user is asked.
            unsafe {
                if am_root() {
                    assert_eq!(libc::chmod(c(scratch.path()).as_ptr(), 0o777), 0);
                    assert!(libc::setgid(65_534) == 0 && libc::setuid(65_534) == 0);
                }
                libc::umask(umask);
            }
            let storage = open(&path, Options { file_mode, ..Options::default() });
            deliver(&storage, &samples(1, 0..10)).0 == PIPELINE_STORE_OK
        });
        assert_eq!(mode(&path), directory, "{name}");
        assert_eq!(mode(&path.join("lock")), file_mode, "{name}");
        assert_eq!(mode(&files(&path)[0]), file_mode, "{name}");
    }
}

#[test]
fn a_directory_that_is_there_keeps_its_permissions() {
    let scratch = Scratch::new();
    let path = scratch.file("kept");
    std::fs::create_dir(&path).expect("made");
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::chmod(c(&path).as_ptr(), 0o751) }, 0);
    drop(open(&path, Options::default()));
    assert_eq!(mode(&path), 0o751);
}

#[test]
fn a_path_that_is_no_directory_is_refused_by_name() {
    let scratch = Scratch::new();
    std::fs::write(scratch.file("file"), "of another").expect("written");
    refused(&scratch.file("file"), &["no directory"]);
    assert_eq!(std::fs::read_to_string(scratch.file("file")).expect("read"), "of another");
    refused(&scratch.file("file/below"), &["Not a directory"]);
    refused(&scratch.file("missing/below"), &["cannot be made", "No such file"]);
    for empty in ["", "\0"] {
        let error = JournalStorage::open(Path::new(empty), Options::default()).err().expect("refused");
        assert!(matches!(error.status, PIPELINE_ERR_INVALID | PIPELINE_ERR_STORAGE), "{error}");
    }
}

#[test]
fn links_that_were_planted_are_not_followed() {
    let scratch = Scratch::new();
    let victim = scratch.file("victim");
    std::fs::create_dir(&victim).expect("made");
    let link = scratch.file("link");
    symlink(&victim, &link).expect("planted");
    refused(&link, &["symbolic link"]);
    refused(Path::new(&format!("{}/", link.display())), &["symbolic link"]);
    symlink(scratch.file("dangling"), scratch.file("to-nothing")).expect("planted");
    refused(&scratch.file("to-nothing"), &["symbolic link"]);
    assert!(files(&victim).is_empty() && !victim.join("lock").exists() && !scratch.file("dangling").exists());
    // A folder above may be a link.
    drop(open(&link.join("journal"), Options::default()));
    assert!(victim.join("journal").is_dir());

    // In the directory.
    let path = scratch.file("journal");
    std::fs::create_dir(&path).expect("made");
    symlink(scratch.file("file"), path.join("lock")).expect("planted");
    refused(&path, &["lock", "symbolic link"]);
    std::fs::remove_file(path.join("lock")).expect("removed");
    let name = |number: u32| path.join(format!("{GENERATION:016x}-{number:08}.journal"));
    symlink(scratch.file("file"), name(1)).expect("planted");
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(c(&name(2)).as_ptr(), 0o666) }, 0);
    std::fs::create_dir(name(3)).expect("made");
    let storage = open(&path, Options { max_bytes: 1 << 20, ..Options::default() });
    assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    assert!(name(4).is_file() && !scratch.file("file").exists());
    // Nor are they deleted to make room.
    for n in 10..200 {
        assert_eq!(deliver(&storage, &[sized(1, n, 20_000)]).0, PIPELINE_STORE_OK);
    }
    assert!(name(1).is_symlink() && name(2).exists() && name(3).is_dir());
}

#[test]
fn another_users_directory_in_a_folder_for_all_is_not_taken_for_ours() {
    if !am_root() {
        println!("not run: only root can give a directory away");
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("planted");
    std::fs::create_dir(&path).expect("made");
    // SAFETY: NUL-terminated paths.
    unsafe {
        assert_eq!(libc::chown(c(&path).as_ptr(), 65_534, 65_534), 0);
        drop(open(&path, Options::default()));
        assert_eq!(libc::chmod(c(scratch.path()).as_ptr(), 0o1777), 0);
    }
    refused(&path, &["another user", "65534"]);
}

#[test]
fn a_directory_that_may_not_be_written_to_is_refused_at_the_start() {
    if !am_root() {
        println!("not run: only root can become another user");
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("roots");
    std::fs::create_dir(&path).expect("made");
    in_a_child(|| {
        // SAFETY: the calls change only this process's ids.
        let nobody = unsafe { libc::setgid(65_534) == 0 && libc::setuid(65_534) == 0 };
        refused(&path, &["lock", "Permission denied"]);
        nobody
    });
}

#[test]
fn foreign_files_in_the_directory_are_left_alone() {
    let scratch = Scratch::new();
    for (name, content) in [
        ("0000000000000001-00000001.journal", vec![0; 500_000]),
        ("0000000000000001-00000002.journal", vec![7; 10]),
        ("notes.journal", b"not a segment".to_vec()),
        ("0000000000000001-00000003.journal~", vec![1; 100]),
    ] {
        std::fs::write(scratch.file(name), content).expect("written");
    }
    let storage = open(scratch.path(), Options { max_bytes: 1 << 20, ..Options::default() });
    for n in 0..200 {
        assert_eq!(deliver(&storage, &[sized(1, n, 20_000)]).0, PIPELINE_STORE_OK);
    }
    // What has a segment's name is one, although nothing in it can be read; what was just made without a header may be about to get one.
    assert!(!scratch.file("0000000000000001-00000001.journal").exists());
    assert!(scratch.file("0000000000000001-00000002.journal").exists());
    assert!(scratch.file("notes.journal").exists());
    assert!(scratch.file("0000000000000001-00000003.journal~").exists());
}
