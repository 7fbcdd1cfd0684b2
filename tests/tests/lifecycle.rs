//! A viewer's life as orchestrators see it, with real processes: started, reused, replaced, stopped, crashed, raced for.
// Signals and /proc: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use wellscope_client::{
    Application, ControlClient, PING_TIMEOUT, StartedOrReused, Transport, Viewer, ViewerConfig, ViewerError,
};
use wellscope_tests::lifecycle::{DEADLINE, Place, runs, signal, wait_for};
use wellscope_tests::viewer::{binary, free_port};

const PARENT: &str = env!("CARGO_BIN_EXE_viewer_parent");

fn pid(viewer: &Viewer) -> u32 {
    viewer.process().unwrap().pid
}

fn openhcs(version: &str) -> Option<Application> {
    Some(Application { id: "openhcs".to_owned(), version: version.to_owned() })
}

/// A program in a place's home.
fn script(place: &Place, text: &str) -> PathBuf {
    let path = place.home.path().join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_viewer_is_started_once_and_then_reused() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let place = Place::new(transport).unwrap();
        let config = ViewerConfig { title: Some("plate 7".to_owned()), ..place.config().unwrap() };
        let first = Viewer::ensure(&config).unwrap();
        assert_eq!(first.outcome(), &StartedOrReused::Started);
        assert!(first.is_alive() && first.is_headless());
        let second = Viewer::ensure(&config).unwrap();
        assert_eq!((second.outcome(), pid(&second)), (&StartedOrReused::Reused, pid(&first)));
        assert_eq!(second.control().viewer_state(&Default::default()).unwrap().title, "plate 7");
        let mut third = Viewer::connect(&place.endpoint()).unwrap();
        assert_eq!(pid(&third), pid(&first));
        // Both of the others know it by its log too.
        assert_eq!(second.log_file(), first.log_file());
        let pid = pid(&first);
        drop((first, second));
        assert!(third.is_alive(), "persistent");
        third.stop().unwrap();
        assert!(!third.is_alive() && !runs(pid));
        assert!(place.socket_files().iter().all(|file| !file.exists()));
        assert!(matches!(Viewer::connect(&place.endpoint()).unwrap_err(), ViewerError::Absent { .. }));
        third.stop().unwrap();
    }
}

#[test]
fn the_log_lies_where_openhcs_lists_it_and_is_emptied_at_each_start() {
    let place = Place::new(Transport::Ipc).unwrap();
    std::fs::create_dir_all(place.log_file().parent().unwrap()).unwrap();
    std::fs::write(place.log_file(), "of yesterday").unwrap();
    let mut parent = place.parent(PARENT, &["headless=true"], &[]).unwrap();
    assert_eq!(parent.got().unwrap().outcome, "started");
    let log = std::fs::read_to_string(place.log_file()).unwrap();
    assert!(log.contains("listening") && !log.contains("of yesterday"), "{log}");
    assert_eq!(log.matches("listening").count(), 1, "one line is one line: {log}");
    let pong = ControlClient::connect(&place.endpoint()).unwrap().ping(DEADLINE).unwrap();
    assert_eq!(pong.log_file.as_deref(), place.log_file().to_str());
}

#[test]
fn a_viewer_of_another_version_is_replaced() {
    let place = Place::new(Transport::Ipc).unwrap();
    let old = ViewerConfig { application: openhcs("0.8.5"), ..place.config().unwrap() };
    let new = ViewerConfig { application: openhcs("0.8.6"), ..old.clone() };
    let first = Viewer::ensure(&old).unwrap();
    let second = Viewer::ensure(&new).unwrap();
    let StartedOrReused::Replaced { because } = second.outcome() else { panic!("{:?}", second.outcome()) };
    assert!(because.contains("0.8.5") && because.contains("0.8.6"), "{because}");
    assert!(!runs(pid(&first)) && pid(&second) != pid(&first));
    let pong = second.control().ping(DEADLINE).unwrap();
    assert_eq!(pong.application, openhcs("0.8.6"));
    // Who does not mind takes it as it is.
    let third = Viewer::ensure(&place.config().unwrap()).unwrap();
    assert_eq!((third.outcome(), pid(&third)), (&StartedOrReused::Reused, pid(&second)));
}

#[test]
fn a_viewer_is_replaced_when_asked() {
    let place = Place::new(Transport::Tcp).unwrap();
    let first = Viewer::ensure(&place.config().unwrap()).unwrap();
    let replace = ViewerConfig { replace: true, ..place.config().unwrap() };
    let second = Viewer::ensure(&replace).unwrap();
    assert!(matches!(second.outcome(), StartedOrReused::Replaced { .. }), "{:?}", second.outcome());
    assert!(!runs(pid(&first)) && runs(pid(&second)));
    assert!(first.is_alive(), "the address is served");
    // Nothing to replace is no error.
    drop(first);
    let mut second = second;
    second.stop().unwrap();
    assert_eq!(Viewer::ensure(&replace).unwrap().outcome(), &StartedOrReused::Started);
}

#[test]
fn a_persistent_viewer_survives_its_parent_however_it_ends() {
    for how in ["kill", "end", "hang-up"] {
        let place = Place::new(Transport::Ipc).unwrap();
        let mut parent = place.parent(PARENT, &["headless=true"], &[]).unwrap();
        let got = parent.got().unwrap();
        assert_eq!(got.outcome, "started");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", got.pid)).unwrap();
        let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap();
        assert_eq!(session, got.pid.to_string(), "it leads a session of its own, which no terminal hangs up");
        match how {
            "kill" => parent.kill().unwrap(),
            "end" => parent.end().unwrap(),
            _ => parent.hang_up().unwrap(),
        }
        let viewer = Viewer::connect(&place.endpoint()).unwrap();
        assert_eq!(pid(&viewer), got.pid, "{how}");
        assert!(viewer.control().settle(DEADLINE).is_ok());
        // Had it been asked to end, it would by now have written so.
        let log = std::fs::read_to_string(place.log_file()).unwrap();
        assert!(!log.contains("asked to end"), "{how}: {log}");
    }
}

#[test]
fn a_viewer_that_is_not_persistent_ends_with_its_parent_however_it_ends() {
    for how in ["kill", "end", "hang-up"] {
        let place = Place::new(Transport::Ipc).unwrap();
        let mut parent = place.parent(PARENT, &["headless=true", "persistent=false"], &[]).unwrap();
        let got = parent.got().unwrap();
        assert_eq!(got.outcome, "started");
        assert!(runs(got.pid));
        match how {
            "kill" => parent.kill().unwrap(),
            "end" => parent.end().unwrap(),
            _ => parent.hang_up().unwrap(),
        }
        wait_for("the viewer is gone", || !runs(got.pid)).unwrap();
        assert!(place.socket_files().iter().all(|file| !file.exists()), "{how} leaves sockets behind");
    }
}

#[test]
fn a_viewer_that_ran_before_is_left_running_by_a_user_who_is_not_persistent() {
    let place = Place::new(Transport::Ipc).unwrap();
    let owner = Viewer::ensure(&place.config().unwrap()).unwrap();
    let guest = Viewer::ensure(&ViewerConfig { persistent: false, ..place.config().unwrap() }).unwrap();
    assert_eq!(guest.outcome(), &StartedOrReused::Reused);
    drop(guest);
    assert!(owner.is_alive() && runs(pid(&owner)));
    // Its own it takes with it.
    let other = Place::new(Transport::Ipc).unwrap();
    let own = Viewer::ensure(&ViewerConfig { persistent: false, ..other.config().unwrap() }).unwrap();
    let own_pid = pid(&own);
    drop(own);
    assert!(!runs(own_pid));
}

#[test]
fn a_crash_is_noticed_and_the_next_viewer_takes_over_the_stale_sockets() {
    let place = Place::new(Transport::Ipc).unwrap();
    let first = Viewer::ensure(&place.config().unwrap()).unwrap();
    signal(pid(&first), "-KILL").unwrap();
    wait_for("the viewer is gone", || !runs(pid(&first))).unwrap();
    assert!(!first.is_alive());
    assert!(place.socket_files().iter().all(|file| file.exists()), "nothing could clean up");
    let second = Viewer::ensure(&place.config().unwrap()).unwrap();
    assert_eq!(second.outcome(), &StartedOrReused::Started);
    assert!(first.is_alive() && pid(&second) != pid(&first));
}

#[test]
fn no_zombie_is_left_when_a_viewer_ends_after_it_was_let_go() {
    let place = Place::new(Transport::Ipc).unwrap();
    let viewer = Viewer::ensure(&place.config().unwrap()).unwrap();
    let pid = pid(&viewer);
    drop(viewer);
    signal(pid, "-KILL").unwrap();
    wait_for("the system has forgotten it", || !PathBuf::from(format!("/proc/{pid}")).exists()).unwrap();
}

#[test]
fn of_many_who_want_a_viewer_at_once_one_starts_it_and_all_use_it() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let place = Place::new(transport).unwrap();
        let mut parents: Vec<_> = (0..6).map(|_| place.parent(PARENT, &["headless=true"], &[]).unwrap()).collect();
        let got: Vec<_> = parents.iter_mut().map(|parent| parent.got().unwrap()).collect();
        assert_eq!(got.iter().filter(|got| got.outcome == "started").count(), 1, "{got:?}");
        assert_eq!(got.iter().filter(|got| got.outcome == "reused").count(), 5, "{got:?}");
        assert!(got.iter().all(|one| one.pid == got[0].pid && one.pid > 0), "{got:?}");
        assert!(runs(got[0].pid));
    }
}

#[test]
fn two_who_want_a_fresh_viewer_at_once_share_it() {
    let place = Place::new(Transport::Ipc).unwrap();
    let path = PathBuf::from(format!("{}.startup.lock", place.socket_files()[0].display()));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Both have asked, and wait, before either starts.
    let lock = std::fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let parent = || place.parent(PARENT, &["headless=true", "replace=true"], &[]).unwrap();
    let mut parents = [parent(), parent()];
    for parent in &parents {
        let has_lock_open = || {
            let open = std::fs::read_dir(format!("/proc/{}/fd", parent.pid())).unwrap();
            open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == path))
        };
        wait_for("it waits for the lock", has_lock_open).unwrap();
    }
    lock.unlock().unwrap();
    let got: Vec<_> = parents.iter_mut().map(|parent| parent.got().unwrap()).collect();
    let mut outcomes: Vec<_> = got.iter().map(|got| got.outcome.as_str()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["reused", "started"], "{got:?}");
    assert_eq!(got[0].pid, got[1].pid);
    // Who asks later gets its own.
    let mut third = parent();
    let got_third = third.got().unwrap();
    assert_eq!(got_third.outcome, "replaced");
    assert_ne!(got_third.pid, got[0].pid);
}

#[test]
fn a_starter_that_is_killed_in_the_middle_does_not_keep_the_others_waiting() {
    let place = Place::new(Transport::Ipc).unwrap();
    let first = place.parent(PARENT, &["headless=true"], &[]).unwrap();
    let lock = PathBuf::from(format!("{}.startup.lock", place.socket_files()[0].display()));
    wait_for("it has the lock", || lock.exists()).unwrap();
    first.kill().unwrap();
    let mut second = place.parent(PARENT, &["headless=true"], &[]).unwrap();
    let got = second.got().unwrap();
    assert!(matches!(got.outcome.as_str(), "started" | "reused"), "{got:?}");
    assert!(runs(got.pid));
}

#[test]
fn viewers_on_several_ports_do_not_touch_each_other() {
    let place = Place::new(Transport::Ipc).unwrap();
    let endpoint = place.endpoint();
    let mut other = Place::new(Transport::Ipc).unwrap();
    let ports = [place.port, free_port().unwrap()];
    let config = |port| ViewerConfig { endpoint: endpoint.clone().with_port(port), ..place.config().unwrap() };
    let mut viewers = ports.map(|port| Viewer::ensure(&config(port)).unwrap());
    assert_ne!(pid(&viewers[0]), pid(&viewers[1]));
    viewers[1].stop().unwrap();
    assert!(viewers[0].is_alive() && !viewers[1].is_alive());
    assert!(runs(pid(&viewers[0])));
    // The same port in another home, and by TCP, is another address.
    other.port = place.port;
    let neighbour = Viewer::ensure(&other.config().unwrap()).unwrap();
    assert_eq!(neighbour.outcome(), &StartedOrReused::Started);
    other.transport = Transport::Tcp;
    let mut by_tcp = Viewer::ensure(&other.config().unwrap()).unwrap();
    assert_eq!(by_tcp.outcome(), &StartedOrReused::Started);
    by_tcp.stop().unwrap();
    other.transport = Transport::Ipc;
    assert!(neighbour.is_alive());
}

#[test]
fn a_program_that_ends_early_is_told_with_its_log() {
    let place = Place::new(Transport::Ipc).unwrap();
    let mistyped = ViewerConfig { arguments: vec!["--nonsense".into()], ..place.config().unwrap() };
    let error = Viewer::ensure(&mistyped).unwrap_err();
    assert_eq!(error.exit_code(), Some(2));
    let error = error.to_string();
    assert!(error.contains("another version of wellscope") && error.contains("--nonsense"), "{error}");

    let program = script(&place, "echo 'the driver is broken' >&2; exit 3");
    let error = Viewer::ensure(&ViewerConfig { program: Some(program), ..place.config().unwrap() }).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("the driver is broken") && error.contains("mesa-vulkan-drivers"), "{error}");

    let nothing = ViewerConfig { program: Some("/nonexistent/wellscope".into()), ..place.config().unwrap() };
    let error = Viewer::ensure(&nothing).unwrap_err();
    assert!(matches!(error, ViewerError::Spawn { .. }), "{error}");
    // None of that keeps the next one from starting.
    assert_eq!(Viewer::ensure(&place.config().unwrap()).unwrap().outcome(), &StartedOrReused::Started);
}

#[test]
fn a_program_that_never_serves_is_stopped_at_the_deadline() {
    let place = Place::new(Transport::Ipc).unwrap();
    let program = script(&place, "echo $$ >&2; exec sleep 1000");
    let start_timeout = std::time::Duration::from_secs(2);
    let config = ViewerConfig { program: Some(program), start_timeout, ..place.config().unwrap() };
    let error = Viewer::ensure(&config).unwrap_err();
    assert!(matches!(error, ViewerError::NotReady { .. }), "{error}");
    let log = place.log_file();
    let log = if log.exists() { log } else { wellscope_client::default_log_file(&place.endpoint()) };
    let child: u32 = std::fs::read_to_string(log).unwrap().trim().parse().unwrap();
    assert!(!runs(child));
}

#[test]
fn without_a_display_the_viewer_runs_without_a_window() {
    for display in ["", ":987"] {
        let place = Place::new(Transport::Ipc).unwrap();
        let mut parent = place.parent(PARENT, &[], &[("DISPLAY", display), ("WAYLAND_DISPLAY", "")]).unwrap();
        let got = parent.got().unwrap();
        assert_eq!((got.outcome.as_str(), got.rest.ends_with("true")), ("started", true), "{display:?}: {got:?}");
        // Who insists on a window is told.
        let other = Place::new(Transport::Ipc).unwrap();
        let environment = [("DISPLAY", display), ("WAYLAND_DISPLAY", "")];
        let mut parent = other.parent(PARENT, &["headless=false"], &environment).unwrap();
        let got = parent.got().unwrap();
        assert!(got.outcome == "error" && got.rest.contains("no display"), "{got:?}");
    }
}

#[test]
fn what_is_no_viewer_is_neither_used_nor_stopped() {
    let place = Place::new(Transport::Tcp).unwrap();
    let silent = TcpListener::bind(("127.0.0.1", place.port + 1000)).unwrap();
    let error = Viewer::ensure(&ViewerConfig { replace: true, ..place.config().unwrap() }).unwrap_err();
    assert!(matches!(error, ViewerError::NotAViewer { .. }), "{error}");
    assert!(error.to_string().contains("does not answer"), "{error}");
    drop(silent);

    // OpenHCS's Fiji viewer speaks the same protocol and is another program.
    use wellscope_protocol::pickle::{PickleValue, encode};
    let fiji = Place::new(Transport::Tcp).unwrap();
    let server = zmq::Context::new().socket(zmq::REP).unwrap();
    server.bind(&format!("tcp://127.0.0.1:{}", fiji.port + 1000)).unwrap();
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        while server.poll(zmq::POLLIN, 4000).unwrap() > 0 {
            asked.push(server.recv_bytes(0).unwrap());
            let pong: [(&str, PickleValue); 5] = [
                ("type", "pong".into()),
                ("ready", true.into()),
                ("server", "FijiViewerServer".into()),
                ("server_type", "fiji".into()),
                ("server_role", "viewer".into()),
            ];
            server.send(encode(&PickleValue::dict(pong)), 0).unwrap();
        }
        asked
    });
    let error = Viewer::ensure(&ViewerConfig { replace: true, ..fiji.config().unwrap() }).unwrap_err();
    assert!(error.to_string().contains("FijiViewerServer"), "{error}");
    let asked = asked.join().unwrap();
    assert!(asked.iter().all(|request| *request == asked[0]), "pings and nothing else");
}

#[test]
fn a_viewer_that_hangs_is_killed_and_its_sockets_are_removed() {
    let place = Place::new(Transport::Ipc).unwrap();
    let mut viewer = Viewer::ensure(&place.config().unwrap()).unwrap();
    let pid = pid(&viewer);
    signal(pid, "-STOP").unwrap();
    assert!(viewer.is_alive(), "stopped by a debugger is not gone");
    viewer.stop().unwrap();
    assert!(!runs(pid));
    assert!(place.socket_files().iter().all(|file| !file.exists()), "a file would mean a viewer to OpenHCS");
}

#[test]
fn a_viewer_behind_a_wrapper_is_waited_for_used_and_stopped() {
    let place = Place::new(Transport::Ipc).unwrap();
    let program = script(&place, &format!("{} \"$@\"\nexit 0", binary().unwrap().display()));
    let config = ViewerConfig { program: Some(program), persistent: false, ..place.config().unwrap() };
    let mut viewer = Viewer::ensure(&config).unwrap();
    let pid = pid(&viewer);
    assert!(viewer.is_alive() && runs(pid));
    viewer.stop().unwrap();
    assert!(!runs(pid));
}

#[test]
fn a_viewer_elsewhere_is_used_and_not_started() {
    let place = Place::new(Transport::Tcp).unwrap();
    let mut config = place.config().unwrap();
    // Reserved for documentation (RFC 5737): nobody is there.
    config.endpoint.host = "192.0.2.1".to_owned();
    let error = Viewer::ensure(&config).unwrap_err();
    assert!(matches!(error, ViewerError::ElsewhereAndAbsent { .. }), "{error}");
    assert!(error.to_string().contains("--bind"), "{error}");
    assert!(ControlClient::connect(&place.endpoint()).unwrap().ping(PING_TIMEOUT).is_err());
}
