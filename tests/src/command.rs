//! The command from end to end, as a user types it.

use crate::private::{in_private, in_private_with};
use crate::program::{Ran, path_of_linkspan, run, signal, tool, wait, words};
use crate::snapshot::Snapshot;
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Case, Family, World, everywhere, with_each_firewall};
use linkspan::NetNs;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A `linkspan run` that goes on while the test does something else.
struct Running {
    child: Child,
}

impl Running {
    /// Starts it with signals as a shell has them: a test in the background of a shell ignores SIGINT, and one that
    /// outlives its terminal SIGHUP.
    fn start(world: &World, line: &str) -> Self {
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT").arg(path_of_linkspan()).args(words(line));
        Self::spawn(world, command)
    }

    /// Starts it in the foreground of a terminal, whose keyboard is the standard input.
    fn start_in_terminal(world: &World, line: &str) -> Self {
        let command = format!("exec env --default-signal=HUP,INT {} {line}", path_of_linkspan().display());
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"]);
        Self::spawn(world, script)
    }

    fn spawn(world: &World, mut command: Command) -> Self {
        command.env("LINKSPAN_FIREWALL", world.case.firewall.to_string()).env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap() }
    }

    fn signal(&self, name: &str) {
        signal(name, i64::from(self.child.id()));
    }

    /// Presses ctrl-C.
    fn press_ctrl_c(&mut self) {
        self.child.stdin.as_mut().expect("the keyboard is a pipe").write_all(b"\x03").unwrap();
    }

    /// Waits for its end.
    fn end(&mut self) -> ExitStatus {
        wait(&mut self.child, PATIENCE).expect("a run ends when it is told to")
    }

    /// What it said, once it has ended.
    fn said(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves nothing running; one that passed has waited for it.
        if let Ok(None) = self.child.try_wait() {
            self.signal("TERM");
            let _ = wait(&mut self.child, PATIENCE);
        }
    }
}

/// The namespace of a container that the command attached.
fn netns_of(world: &World, name: &str) -> NetNs {
    until("it is attached", || world.host.namespace_of(&world.host.find(name)?))
}

/// Tries again until it works.
#[track_caller]
fn until<T, E: std::fmt::Debug>(what: &str, mut work: impl FnMut() -> Result<T, E>) -> T {
    let begin = Instant::now();
    loop {
        match work() {
            Ok(done) => return done,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "never: {what}: {error:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn get(from: &NetNs, at: SocketAddr) -> io::Result<String> {
    let request = || {
        let mut server = TcpStream::connect_timeout(&at, Duration::from_secs(3))?;
        server.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        server.read_to_string(&mut answer)?;
        Ok(answer)
    };
    from.run(request).map_err(io::Error::other)?
}

#[test]
fn a_web_server_is_run_published_reached_and_gone() {
    in_private_with(&["hostname", "python3", "script"], || {
        everywhere(|world| {
            // The server asks for the name of its host before it listens; this one needs no resolver.
            tool("hostname localhost");
            let before = Snapshot::take();
            let mut web =
                Running::start_in_terminal(world, "run --name web -p 8080:80 -- python3 -m http.server 80");
            let at = |address| SocketAddr::new(address, 8080);
            let host = at(world.host_address(Family::V4));
            let netns = netns_of(world, "web");
            until("the server listens", || get(world.remote(), host));
            let neighbour =
                world.container(&crate::world::container("two").on(crate::world::default_bridge()));
            let local = "127.0.0.1:8080".parse().unwrap();
            for (from, to) in
                [(&world.here, host), (&world.here, local), (neighbour.netns(), host), (&netns, host)]
            {
                let answer = get(from, to).unwrap();
                assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
            }
            world.host.detach(neighbour.attachment.id()).unwrap();
            drop(netns);
            web.press_ctrl_c();
            let status = web.end();
            let said = web.said();
            assert_eq!(status.code(), Some(0), "{said}");
            let remote = world.remote_address(Family::V4);
            assert!(said.contains(&format!("{remote} - - [")), "the server saw somebody else: {said}");
            before.assert_unchanged("ctrl-C");
        });
    });
}

#[test]
fn a_signal_for_the_command_alone_reaches_the_program() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            for (name, status) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("USR1", 138)] {
                let mut sleeper = Running::start(world, "run --name sleeper -p 8080:80 -- sleep 100");
                drop(netns_of(world, "sleeper"));
                // The program has begun when the record names its process.
                sleeper.signal(name);
                assert_eq!(sleeper.end().code(), Some(status), "{name}: {}", sleeper.said());
                before.assert_unchanged(name);
            }
        });
    });
}

#[test]
fn a_run_that_waits_for_others_ends_when_it_is_told_to_twice() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("run -- true").ok();
        let before = Snapshot::take();
        for [first, second] in [["INT", "INT"], ["TERM", "INT"]] {
            let claims = File::open("/run/linkspan/.claims.lock").unwrap();
            let claims = Flock::lock(claims, FlockArg::LockExclusiveNonblock).unwrap();
            let mut web = Running::start(&world, "run --name web -- sleep 100");
            until("it waits for the claims", || waits_for_a_lock(&web));
            web.signal(first);
            until("the signal has come to it", || has_no_signal(&web));
            assert!(web.child.try_wait().unwrap().is_none(), "it ends at the first one");
            web.signal(second);
            assert_eq!(web.end().signal(), Some(2));
            drop(claims);
            assert_eq!(world.linkspan("ps --json").ok(), "[]\n");
            before.assert_unchanged(first);
        }
    });
}

/// By the lines of `/proc/locks`, of which one with an arrow is of a process that waits.
fn waits_for_a_lock(run: &Running) -> Result<(), String> {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let process = format!(" {} ", run.child.id());
    match locks.lines().any(|line| line.contains("->") && line.contains(&process)) {
        true => Ok(()),
        false => Err(locks),
    }
}

/// By the signals that are pending for the whole process.
fn has_no_signal(run: &Running) -> Result<(), String> {
    let status = fs::read_to_string(format!("/proc/{}/status", run.child.id())).unwrap();
    match status.contains("ShdPnd:\t0000000000000000") {
        true => Ok(()),
        false => Err(status),
    }
}

#[test]
fn the_status_of_a_run_is_that_of_its_program() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            let check = |line: &str, status: i32| {
                let ran = world.linkspan(line);
                assert_eq!(ran.code(), Some(status), "{line}: {ran}");
                before.assert_unchanged(line);
            };
            check("run -- true", 0);
            check("run -- sh -c 'exit 7'", 7);
            check("run -- sh -c 'exit 255'", 255);
            check("run -- sh -c 'kill -TERM $$'", 143);
            check("run -- sh -c 'kill -KILL $$'", 137);
            check("run -- /nonexistent/program", 127);
            check("run -- /proc", 126);
            check("run --network absent -- true", 125);
            check("run --network host -p 80:80 -- true", 2);
            check("run --network host -- sh -c 'exit 7'", 7);
            check("run --network none -- sh -c 'exit 7'", 7);
        });
    });
}

#[test]
fn a_program_finds_its_network_ready() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create net-1 --subnet 10.88.1.0/24 --subnet fd88:1::/64").ok();
        let shown = world.linkspan("run --network net-1 -- ip -o addr show dev eth0").ok();
        assert!(shown.contains(" 10.88.1.2/24 ") && shown.contains(" fd88:1::2/64 "), "{shown}");
        assert!(!shown.contains("tentative"), "{shown}");
        let link = world.linkspan("run --network net-1 -- ip -o link show dev eth0").ok();
        assert!(link.contains("LOWER_UP"), "{link}");
        let route = world.linkspan("run --network net-1 -- ip route show default").ok();
        assert!(route.starts_with("default via 10.88.1.1 dev eth0"), "{route}");
    });
}

#[test]
fn run_has_every_mode() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            let netns =
                |line: &str| world.linkspan(&format!("run {line} -- readlink /proc/self/ns/net")).ok();
            let links =
                |line: &str| world.linkspan(&format!("run {line} -- ip -o link")).ok().lines().count();
            assert_eq!(netns("--network host"), tool("readlink /proc/thread-self/ns/net"));
            assert_ne!(netns("--network none"), netns("--network host"));
            assert_eq!(links("--network none"), 1);
            world.linkspan("network create a").ok();
            world.linkspan("network create b").ok();
            assert_eq!(links("--network a --network b"), 3);
            let mut web = Running::start(world, "run --name web --network a -- sleep 100");
            let inside = netns_of(world, "web").run(|| tool("readlink /proc/thread-self/ns/net")).unwrap();
            assert_eq!(netns("--network container:web"), inside);
            assert_eq!(world.linkspan("run --network container:nobody -- true").code(), Some(125));
            web.signal("TERM");
            assert_eq!(web.end().code(), Some(143));
            world.linkspan("network rm a b").ok();
            before.assert_unchanged("every mode");
        });
    });
}

#[test]
fn two_user_defined_networks_are_apart_and_each_is_together() {
    in_private(|| {
        with_each_firewall(|world| {
            world.linkspan("network create a --subnet 10.88.1.0/24").ok();
            world.linkspan("network create b --subnet 10.88.2.0/24").ok();
            let names = ["one", "two", "three"];
            let lines = names.iter().zip(["a", "a", "b"]);
            let mut runs: Vec<_> = lines
                .map(|(name, net)| {
                    Running::start(world, &format!("run --name {name} --network {net} -- sleep 100"))
                })
                .collect();
            let [one, two, three] = names.map(|name| netns_of(world, name));
            [&one, &two, &three].iter().for_each(|netns| serve(netns, 80));
            let address = |name: &str| {
                let attachment = world.host.find(name).unwrap();
                SocketAddr::new(attachment.endpoints()[0].address().addr(), 80)
            };
            reaches(&one, address("two"));
            reaches_none(&[(&one, address("three")), (&three, address("one"))]);
            runs.iter().for_each(|run| run.signal("INT"));
            runs.iter_mut().for_each(|run| assert_eq!(run.end().code(), Some(130)));
        });
    });
}

#[test]
fn a_hostname_is_the_programs_own() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let before = tool("uname -n");
        assert_eq!(world.linkspan("run --hostname web-1 -- uname -n").ok(), "web-1\n");
        assert_eq!(tool("uname -n"), before);
        for mode in ["host", "container:web"] {
            let ran = world.linkspan(&format!("run --network {mode} --hostname web-1 -- true"));
            assert!([Some(2), Some(125)].contains(&ran.code()), "{ran}");
        }
    });
}

#[test]
fn a_pinned_namespace_is_attached_shown_and_detached() {
    in_private(|| {
        with_each_firewall(|world| {
            let netns = NetNs::create("/run/netns/web").unwrap();
            let before = Snapshot::take();
            let id = world.linkspan("attach web --netns /run/netns/web -p 8080:80 -p 8080:80/udp").ok();
            let id = id.trim();
            serve(&netns, 80);
            reaches(world.remote(), SocketAddr::new(world.host_address(Family::V4), 8080));
            for wanted in ["web", id, &id[..6]] {
                assert!(world.linkspan(&format!("inspect {wanted}")).ok().contains(id), "{wanted}");
            }
            assert!(world.linkspan("ps").ok().contains("172.17.0.2"));
            assert!(world.linkspan("port web").ok().contains("8080"));
            assert_eq!(world.linkspan("detach web").ok(), "web\n");
            before.assert_unchanged("detach");
            assert_eq!(world.linkspan("detach web").code(), Some(0), "twice is fine");
            assert_eq!(world.linkspan("inspect web").code(), Some(1));
        });
    });
}

#[test]
fn what_is_removed_is_not_found_by_a_few_digits_of_its_id() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/web").unwrap();
        let network = world.linkspan("network create --json n --subnet 10.88.0.0/24").ok();
        let network = network.split_once("\"id\":\"").unwrap().1[..12].to_owned();
        let id = world.linkspan("attach web --netns /run/netns/web").ok();
        assert_eq!(world.linkspan(&format!("detach {}", &id[..11])).ok(), "");
        assert_eq!(world.linkspan(&format!("network rm --force {}", &network[..11])).ok(), "");
        assert!(world.linkspan("ps").ok().contains("web"));
        assert_eq!(world.linkspan(&format!("detach {}", &id[..12])).ok(), "web\n");
        assert_eq!(world.linkspan(&format!("network rm {network}")).ok(), "n\n");
    });
}

#[test]
fn a_process_is_attached_by_its_number() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let before = Snapshot::take();
        let mut child = Command::new("unshare").args(["--net", "sleep", "100"]).spawn().unwrap();
        let netns = || NetNs::of_pid(linkspan::Pid::new(child.id()).unwrap());
        until("it has a namespace of its own", || {
            netns().ok().filter(|netns| netns.cookie() != world.here.cookie()).ok_or("not yet")
        });
        world.linkspan(&format!("attach web --pid {}", child.id())).ok();
        assert!(netns().unwrap().run(|| tool("ip -o -4 addr")).unwrap().contains("172.17.0.2/16"));
        world.linkspan("detach web").ok();
        child.kill().unwrap();
        child.wait().unwrap();
        before.assert_unchanged("detach");
    });
}

#[test]
fn a_plan_names_every_step_and_changes_nothing() {
    in_private(|| {
        with_each_firewall(|world| {
            let _netns = NetNs::create("/run/netns/web").unwrap();
            let before = Snapshot::take();
            let plan = world.linkspan("plan attach web --netns /run/netns/web -p 8080:80").ok();
            before.assert_unchanged("plan attach");
            for step in ["create bridge linkspan0", "create veth", "eth0", "172.17.0.2", "8080"] {
                assert!(plan.contains(step), "{step} is not in:\n{plan}");
            }
            world.linkspan("plan network create a --subnet 10.88.1.0/24").ok();
            world.linkspan("plan run -- true").ok();
            before.assert_unchanged("plan network create, plan run");
        });
    });
}

#[test]
fn what_prints_prints_json_too() {
    in_private_with(&["python3"], || {
        let world = World::new(Case::USUAL);
        let _netns = [NetNs::create("/run/netns/web").unwrap(), NetNs::create("/run/netns/two").unwrap()];
        let parses = |ran: Ran, line: &str| {
            let file = format!("/run/{}", line.replace([' ', '/'], "-"));
            fs::write(&file, ran.ok()).unwrap();
            let parsed = run(Command::new("python3").args(["-m", "json.tool", &file]));
            assert_eq!(parsed.code(), Some(0), "{line}: {parsed}");
        };
        let lines = [
            "network create a --label k=v",
            "attach web --netns /run/netns/web --network a -p 8080:80",
            "ps",
            "port web",
            "inspect web",
            "network ls",
            "network inspect a",
            "plan attach two --netns /run/netns/two",
            "plan network create b",
            "detach web",
            "network rm a",
            "ps",
        ];
        lines.iter().for_each(|line| parses(world.linkspan(&format!("{line} --json")), line));
    });
}

#[test]
fn instances_share_a_host_and_do_not_touch_each_other() {
    in_private(|| {
        with_each_firewall(|world| {
            let netns = ["one", "two"].map(|name| NetNs::create(format!("/run/netns/{name}")).unwrap());
            netns.iter().for_each(|netns| serve(netns, 80));
            let before = Snapshot::take();
            let both = |port: u16| format!("-p {port}:80 -p {port}:80/udp");
            world.linkspan(&format!("attach one --netns /run/netns/one {}", both(8081))).ok();
            let first = Snapshot::take();
            let other = "--instance other";
            world.linkspan(&format!("{other} network create theirs --subnet 10.88.1.0/24")).ok();
            let two = format!("{other} attach two --netns /run/netns/two --network theirs");
            world.linkspan(&format!("{two} {}", both(8082))).ok();
            for port in [8081, 8082] {
                reaches(world.remote(), SocketAddr::new(world.host_address(Family::V4), port));
            }
            world.linkspan(&format!("{other} detach two")).ok();
            world.linkspan(&format!("{other} network rm theirs")).ok();
            first.assert_unchanged("another instance");
            world.linkspan("detach one").ok();
            before.assert_unchanged("both instances");
        });
    });
}

#[test]
fn a_network_can_be_removed_with_its_containers() {
    in_private(|| {
        with_each_firewall(|world| {
            let _netns = NetNs::create("/run/netns/web").unwrap();
            let before = Snapshot::take();
            world.linkspan("network create a").ok();
            world.linkspan("attach web --netns /run/netns/web --network a -p 8080:80").ok();
            assert_eq!(world.linkspan("network rm a").code(), Some(1));
            world.linkspan("network rm --force a").ok();
            before.assert_unchanged("network rm --force");
        });
    });
}

#[test]
fn the_demo_leaves_nothing_and_needs_no_folder_of_the_machine() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let before = Snapshot::take();
        let shown = world.linkspan("demo").ok();
        assert!(shown.contains("8080") || shown.contains("172."), "{shown}");
        before.assert_unchanged("the demo");
    });
}
