//! The `.env` file: the bytes that are kept, the files that are refused before Meta is called, and
//! the place of a token that cannot be stored.

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
        ("round", "links form a circle"),
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
    ended.says(1, &["/proc/self/x.env cannot be written, so Meta was not called"]);
    assert_eq!(world.calls(SandboxCall::Refresh), 0);
}

#[test]
fn a_token_that_cannot_be_stored_is_saved_beside() {
    let world = World::new();
    let path = world.write(".env", "T=old\n");
    // Somebody puts a folder in the file's place during the call to Meta.
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
    // The second finds the first one's token, which is too young. Neither uses a token that the
    // other's refresh has ended.
    assert_eq!(codes, [0, 4]);
}

/// The command where `app/.env` is `host/.env`, mounted by itself, as containers have it. None
/// where this user cannot mount.
fn mounted(world: &World, more: &str, arguments: &[&str]) -> Option<std::process::Command> {
    let with: &[&str] = if world.folder_is_roots() { &["-m"] } else { &["-rm"] };
    let allowed = std::process::Command::new("unshare").args(with).arg("true").output();
    if !allowed.is_ok_and(|ended| ended.status.success()) {
        return None;
    }
    let mut command = std::process::Command::new("unshare");
    let script = format!("mount --bind host/.env app/.env && {more} exec \"$0\" \"$@\"");
    command.args(with).args(["sh", "-c", &script, env!("CARGO_BIN_EXE_threads-auth")]).args(arguments);
    world.surround(&mut command);
    Some(command)
}

#[test]
fn a_file_that_is_mounted_by_itself_is_written_in_place() {
    let world = World::new();
    world.sandbox.set_old_token_behaviour(threads_sandbox::OldToken::NewTokenOldDead);
    for folder in ["host", "app"] {
        std::fs::create_dir(world.path(folder)).unwrap();
    }
    world.write("app/.env", "");
    let mut token = world.old_token();
    let path = world.write("host/.env", format!("A=1\nT={token} # mine\nZ=9\n"));
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let inode = path.metadata().unwrap().ino();
    let arguments = ["refresh_token", "-auto", "-p", "app/.env", "-v", "T"];
    // Twice: the old token dies each time, so that one that was not stored would end it.
    for _ in 0..2 {
        let Some(command) = mounted(&world, "", &arguments) else {
            println!("nothing can be mounted here: the unit tests of env_slot.rs have to do");
            return;
        };
        run(command).says(0, &["written in place", "Updated the T variable in app/.env"]);
        let content = world.read("host/.env");
        let now = content.strip_prefix("A=1\nT=").unwrap().strip_suffix(" # mine\nZ=9\n").unwrap();
        assert!(now.starts_with("THQVJ") && now != token, "{content}");
        token = now.to_owned();
        world.sandbox.clock().advance(2 * crate::support::DAY);
    }
    assert_eq!((path.metadata().unwrap().ino(), mode(&path)), (inode, 0o600));
    assert_eq!(world.names(), ["app", "host"], "nothing else is left");
    assert_eq!(std::fs::read_dir(world.path("app")).unwrap().count(), 1);

    // A command that has it by another name is waited for.
    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    let mut running = Running::start(mounted(&world, "", &arguments).unwrap());
    running.line("waiting for another process that has app/.env");
    held.unlock().unwrap();
    running.end().expect(0);
    assert_eq!(world.calls(SandboxCall::Refresh), 3);

    // If it cannot be written either, Meta gets no call.
    let readonly = mounted(&world, "mount -o remount,bind,ro app/.env &&", &arguments).unwrap();
    run(readonly).says(1, &["app/.env can neither be replaced", "Meta was not called"]);
    assert_eq!(world.calls(SandboxCall::Refresh), 3);
}

#[test]
fn the_next_run_takes_up_a_token_that_was_saved() {
    let world = World::new();
    world.sandbox.set_old_token_behaviour(threads_sandbox::OldToken::NewTokenOldDead);
    let old = world.old_token();
    let path = world.write(".env", format!("A=1\nT={old}\n"));
    let sabotage = move || {
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
    };
    refresh_while(&world, ".env", "THQVJnew", sabotage).expect(5);
    let (saved, _) = world.recovered();
    std::fs::remove_dir(world.path(".env")).unwrap();

    // Not for another variable, nor for a value that somebody has put there since.
    world.write(".env", format!("A=1\nT=THQVJanother\nU={old}\n"));
    refresh(&world, ".env").expect(3);
    run(world.command(&["refresh_token", "-auto", "-p", ".env", "-v", "U"])).expect(0);
    assert!(saved.exists());
    // Nor what others could have put there.
    world.write(".env", format!("A=1\nT={old}\n"));
    let calls = world.calls(SandboxCall::Refresh);
    std::fs::set_permissions(&saved, Permissions::from_mode(0o644)).unwrap();
    refresh(&world, ".env").expect(3);
    std::fs::set_permissions(&saved, Permissions::from_mode(0o600)).unwrap();

    let ended = refresh(&world, ".env");
    ended
        .says(0, &["used the token that an earlier run saved in", "Updated the T variable"])
        .hides(&["THQVJnew"]);
    assert_eq!(world.read(".env"), "A=1\nT=THQVJnew\n");
    assert!(!saved.exists());
    // It is what a refresh would have given: Meta refuses a token of less than a day.
    assert_eq!(world.calls(SandboxCall::Refresh), calls + 1);
}

#[test]
fn a_saved_token_of_some_age_is_refreshed() {
    let world = World::new();
    let (old, newer) = (world.old_token(), world.old_token());
    let path = world.write(".env", format!("T={old}\n"));
    let sabotage = move || {
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
    };
    refresh_while(&world, ".env", &newer, sabotage).expect(5);
    let (saved, _) = world.recovered();
    std::fs::remove_dir(world.path(".env")).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    File::options().write(true).open(&saved).unwrap().set_modified(long_ago).unwrap();
    // The file may be gone altogether.
    world.write(".env", "");
    refresh(&world, ".env").says(0, &["used the token"]);
    assert!(!saved.exists());
    let env = world.read(".env");
    assert!(env.starts_with("T='THQVJ") && !env.contains(&newer), "{env}");
    assert_eq!(world.calls(SandboxCall::Refresh), 1);
}
