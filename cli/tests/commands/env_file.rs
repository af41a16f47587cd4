//! The `.env` file: what is kept, what is refused before Meta is asked, and where a token goes that cannot be stored.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use threads_sandbox::SandboxCall;

use crate::support::{Ended, Running, World, meta_that, run};

/// Refreshes the token that the file holds.
fn refresh(world: &World, file: &str) -> Ended {
    run(world.command(&["refresh_token", "-auto", "-p", file, "-v", "T"]))
}

/// Refreshes against a Meta that does something first, and gives this token.
fn refresh_while(world: &World, file: &str, token: &str, acts: impl FnOnce() + Send + 'static) -> Ended {
    let (url, served) = meta_that(acts, token);
    let mut command = world.command(&["refresh_token", "-auto", "-p", file, "-v", "T", "--json"]);
    command.env("THREADS_GRAPH_URL", url);
    let ended = run(command);
    served.join().unwrap();
    ended
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn only_the_token_changes() {
    let world = World::new();
    let old = world.old_token();
    let before = format!(
        "\u{feff}# top\r\n\r\nexport A = 'x'\r\nB=\"two\r\nlines T=no\"\r\nT=first\r\nexport T = \"{old}\" # why\r\n\r\nZ=last"
    );
    world.write(".env", &before);
    let ended = refresh(&world, ".env");
    ended.says(0, &["T is defined 2 times", "Updated the T variable in .env"]);
    let after = world.read(".env");
    let (head, tail) = before.split_once(&old).unwrap();
    let token = after.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)).unwrap();
    assert!(token.starts_with("THQVJ") && token != old, "{token}");
    ended.hides(&[&old, token]);
    assert_eq!(world.names(), [".env"], "nothing else is left");
}

#[test]
fn a_new_file_is_its_owners_alone() {
    let world = World::new();
    let old = world.old_token();
    let arguments = ["refresh_token", "-token", &old, "-p", "new.env", "-v", "T", "-s"];
    let ended = run(world.command(&arguments));
    assert_eq!(ended.expect(0).stderr, "");
    assert_eq!(mode(&world.path("new.env")), 0o600);
    assert!(world.read("new.env").starts_with("T='THQVJ"));
    assert!(world.read("new.env").ends_with("'\n"));
}

#[test]
fn mode_owner_and_links_are_kept() {
    let world = World::new();
    for kept in [0o400, 0o600, 0o640, 0o664] {
        let old = world.old_token();
        let path = world.write("real.env", format!("T={old}"));
        std::fs::set_permissions(&path, Permissions::from_mode(kept)).unwrap();
        // Only root can give a file away, and only then is there an owner to keep.
        let owner = std::os::unix::fs::chown(&path, Some(1234), Some(4321)).map_or_else(
            |_| (path.metadata().unwrap().uid(), path.metadata().unwrap().gid()),
            |()| (1234, 4321),
        );
        for link in ["one.env", "two.env"] {
            let _ = std::fs::remove_file(world.path(link));
        }
        symlink("real.env", world.path("one.env")).unwrap();
        symlink("one.env", world.path("two.env")).unwrap();
        let ended = refresh(&world, "two.env");
        ended.expect(0);
        assert_eq!(ended.stderr.contains("is open to other users"), kept & 0o077 != 0, "{ended:?}");
        assert_eq!(mode(&path), kept);
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), owner);
        assert!(world.path("two.env").is_symlink() && world.path("one.env").is_symlink());
        assert!(!world.read("real.env").contains(&old));
    }
    // A link to nothing yet makes the file where it leads.
    std::fs::create_dir(world.path("folder")).unwrap();
    symlink("folder/later.env", world.path("link.env")).unwrap();
    let old = world.old_token();
    let arguments = ["refresh_token", "-token", &old, "-p", "link.env", "-v", "T"];
    run(world.command(&arguments)).expect(0);
    assert_eq!(mode(&world.path("folder/later.env")), 0o600);
    assert!(world.path("link.env").is_symlink());
}

#[test]
fn what_cannot_be_written_is_found_before_meta_is_asked() {
    let world = World::new();
    let old = world.old_token();
    world.write("file", "");
    std::fs::create_dir(world.path("folder")).unwrap();
    symlink("round", world.path("round")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(world.path("pipe")).status();
    assert!(fifo.unwrap().success());
    for (file, problem) in [
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("round", "circle of links"),
        ("file/x.env", "Not a directory"),
        ("none/x.env", "No such file"),
    ] {
        let names = world.names();
        let ended = run(world.command(&["refresh_token", "-token", &old, "-p", file, "-v", "T"]));
        // As the file of --env-path it is looked into for other values, too.
        ended.says(1, &[file, problem]);
        assert_eq!(world.names(), names);
    }
    assert_eq!(world.calls(SandboxCall::Refresh), 0);
}

#[test]
fn a_folder_that_takes_no_file_is_found_before_meta_is_asked() {
    // Permissions do not stop root, but there is a folder that takes no files from anybody.
    let world = World::new();
    let old = world.old_token();
    let ended = run(world.command(&["refresh_token", "-token", &old, "-p", "/proc/self/x.env", "-v", "T"]));
    ended.says(1, &["/proc/self/x.env cannot be written, so Meta was not asked"]);
    assert_eq!(world.calls(SandboxCall::Refresh), 0);
}

#[test]
fn a_token_that_cannot_be_stored_is_saved_beside() {
    let world = World::new();
    let path = world.write(".env", "T=old\n");
    // Somebody puts a folder in the file's place while Meta is being asked.
    let sabotage = move || {
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
    };
    let ended = refresh_while(&world, ".env", "THQVJnew", sabotage);
    let failure = ended.failure(5);
    assert_eq!(failure["error"]["kind"], "not_stored");
    ended.says(5, &["could not be stored in .env", "not a regular file"]).hides(&["THQVJnew"]);
    let (path, content) = world.recovered();
    assert!(ended.stderr.contains(path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(content, "T='THQVJnew'\n");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(world.names().len(), 2, "no other file is left: {:?}", world.names());
}

#[test]
fn a_token_whose_folder_is_gone_is_saved_elsewhere() {
    let world = World::new();
    let folder = world.path("folder");
    std::fs::create_dir(&folder).unwrap();
    world.write("folder/.env", "T=old\n");
    let sabotage = move || std::fs::remove_dir_all(&folder).unwrap();
    let ended = refresh_while(&world, "folder/.env", "THQVJnew", sabotage);
    ended.says(5, &["could not be stored in folder/.env"]);
    assert_eq!(world.recovered().1, "T='THQVJnew'\n");
}

#[test]
fn a_token_that_no_file_can_hold_is_saved() {
    let world = World::new();
    world.write(".env", "T=old\n");
    let ended = refresh_while(&world, ".env", "THQVJ${HOME}", || {});
    ended.says(5, &["no .env file can hold"]);
    assert_eq!(world.recovered().1, "T=THQVJ${HOME}\n");
    assert_eq!(world.read(".env"), "T=old\n");
}

#[test]
fn an_editors_change_meanwhile_is_kept() {
    let world = World::new();
    let path = world.write(".env", "A=1\nT=old\n");
    let edited = "# edited\nA=2\nT='other' # meanwhile\n";
    let edit = {
        let path = path.clone();
        move || {
            std::fs::write(&path, edited).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        }
    };
    refresh_while(&world, ".env", "THQVJnew", edit).expect(0);
    assert_eq!(world.read(".env"), edited.replace("other", "THQVJnew"));
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn a_second_writer_waits_for_the_first() {
    let world = World::new();
    let old = world.old_token();
    world.write(".env", format!("T={old}\n"));
    let folder = File::open(world.path(".")).unwrap();
    folder.lock().unwrap();
    let mut running = Running::start(world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "T"]));
    running.line("waiting for another process that has .env");
    // It reads the token only when it is its turn: this is what the first writer leaves.
    let newer = world.old_token();
    world.write(".env", format!("T={newer}\n"));
    folder.unlock().unwrap();
    running.end().expect(0);
    assert_eq!(world.calls(SandboxCall::Refresh), 1);
    let env = world.read(".env");
    assert!(!env.contains(&old) && !env.contains(&newer), "{env}");
}

#[test]
fn ctrl_c_ends_the_waiting() {
    let world = World::new();
    world.write(".env", "T=old\n");
    let folder = File::open(world.path(".")).unwrap();
    folder.lock().unwrap();
    let mut running = Running::start(world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "T"]));
    running.line("waiting");
    running.end_by("INT").expect(130);
    assert_eq!(world.calls(SandboxCall::Refresh), 0);
}

#[test]
fn two_at_once_refresh_one_after_the_other() {
    let world = World::new();
    world.sandbox.set_old_token_behaviour(threads_sandbox::OldToken::NewTokenOldDead);
    let old = world.old_token();
    world.write(".env", format!("T={old}\n"));
    let start =
        || Running::start(world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "T", "--json"]));
    let running = [start(), start()];
    let mut codes = running.map(|running| running.end().code);
    codes.sort_unstable();
    // The second finds the first one's token, which is too young. Neither asks with a token that the other has killed.
    assert_eq!(codes, [0, 4]);
}
