//! What the command can do, and a program with the facade in it, each with a host that it is done to.

use super::ground::Ground;
use std::fs;

/// Something that a command does.
pub(super) struct Operation {
    /// What is broken, for the one who reads a failure.
    pub(super) name: &'static str,
    /// Makes the host what the operation finds; before it, there is nothing of ours.
    pub(super) prepare: fn(&Ground),
    pub(super) line: &'static str,
    /// How the line ends where nothing is broken.
    pub(super) status: i32,
    /// The next command after a kill: one that wants nothing for itself, unless the host was ill before.
    pub(super) next: &'static str,
    /// What completes it after it was refused or killed; most often itself.
    pub(super) again: &'static str,
    pub(super) form: Form,
}

/// What may be found after a kill and the next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// It is done, or it is as before.
    Whole,
    /// Each of several things is done or as before.
    Parts,
    /// Nothing is different at the end, however it ends.
    Passing,
    /// The same, but for a network that it brought up where it was broken, as this line does.
    Raising(&'static str),
    /// The host was ill before, and may be half mended.
    Mending,
}

const NEUTRAL: &str = "detach nobody";

const fn whole(name: &'static str, prepare: fn(&Ground), line: &'static str) -> Operation {
    Operation { name, prepare, line, status: 0, next: NEUTRAL, again: line, form: Form::Whole }
}

const fn parts(name: &'static str, prepare: fn(&Ground), line: &'static str) -> Operation {
    Operation { form: Form::Parts, ..whole(name, prepare, line) }
}

const fn passing(name: &'static str, prepare: fn(&Ground), line: &'static str) -> Operation {
    Operation { form: Form::Passing, ..whole(name, prepare, line) }
}

/// Who is killed leaves a container that died, which whoever wants something of it releases, and `gc` anyhow.
const fn run(name: &'static str, prepare: fn(&Ground), line: &'static str) -> Operation {
    Operation { next: "gc", ..passing(name, prepare, line) }
}

/// Each operation in each of its forms.
pub(super) const OPERATIONS: &[Operation] = &[
    whole("attach, first on the default network", nothing, "attach x --netns /run/netns/x -p 8080:80"),
    whole(
        "attach to two networks with ports",
        networks,
        "attach x --netns /run/netns/x --network web --network db \
         -p 8080:80 -p 127.0.0.1:8081:81/udp -p 9000-9003:90-93",
    ),
    whole("attach beside others", attached, "attach z --netns /run/netns/z --network web -p 8082:80"),
    // A network that is up is as good as one that is not, but for who is refused on it.
    parts(
        "attach to a network that is not up",
        rebooted,
        "attach x --netns /run/netns/x --network web -p 8080:80",
    ),
    Operation {
        form: Form::Mending,
        ..whole(
            "attach where the bridge was deleted",
            without_bridge,
            "attach x --netns /run/netns/x --network web -p 8080:80",
        )
    },
    // The dead one goes first, and does not come back with the refusal of the other.
    Operation {
        form: Form::Mending,
        ..whole(
            "attach in place of a container that died",
            died,
            "attach p --netns /run/netns/x --network web --ip 10.88.1.9 -p 8088:80",
        )
    },
    Operation {
        status: 1,
        form: Form::Raising("run --name job --network db -- true"),
        ..whole(
            "attach that is refused for its port",
            rebooted_with_a_taken_port,
            "attach x --netns /run/netns/x --network db -p 8080:80",
        )
    },
    whole("attach to no network", nothing, "attach x --netns /run/netns/x --network none"),
    whole("detach the last of the default network", on_default, "detach x"),
    whole("detach from two networks", attached, "detach x"),
    parts("detach many", attached, "detach y nobody x"),
    whole("detach one that died", died, "detach p"),
    // The pin is not what whoever repairs knows of.
    Operation {
        next: "gc",
        ..parts("detach and end the namespace", with_one_that_ends, "end q /run/netns/q")
    },
    whole("network create", nothing, "network create web"),
    whole(
        "network create with every option",
        networks,
        "network create own --subnet 10.88.3.0/24 --subnet fd88:3::/64 --gateway 10.88.3.9 \
         --ip-range 10.88.3.128/25 --aux-address x=10.88.3.200 --internal --icc=false --mtu 1400 \
         --bridge-name own0 --label a=b",
    ),
    whole(
        "network create on a bridge of others",
        with_a_bridge,
        "network create own --subnet 10.88.3.0/24 --bridge-name br0",
    ),
    Operation { again: "network rm --force web", ..whole("network rm", networks, "network rm web") },
    Operation {
        again: "network rm --force web",
        ..whole("network rm of one that is not up", rebooted, "network rm web")
    },
    Operation {
        again: "network rm --force web",
        ..whole("network rm of one that came up from its definition", rebooted_and_used, "network rm web")
    },
    Operation {
        again: "network rm --force own",
        ..whole("network rm on a bridge of others", on_a_bridge, "network rm own")
    },
    // Addresses may be kept on some networks, with the container still there. Whoever writes there next, and gc, sees
    // to a draft of the state folder; others do not look into it.
    Operation { next: "gc", ..parts("detach that keeps addresses", attached, "detach --keep-address x") },
    Operation {
        next: "gc",
        ..whole("network release", with_a_kept_address, "network release web 10.88.1.2")
    },
    Operation {
        again: "network rm --force db web",
        ..parts("network rm of many", networks, "network rm db web")
    },
    parts("network rm --force with containers", attached, "network rm --force web db"),
    Operation { next: "gc", ..parts("gc of every kind", garbage, "gc") },
    Operation {
        next: "reconcile",
        form: Form::Mending,
        ..whole("reconcile of every damage", damage, "reconcile")
    },
    run("run", networks, "run --name job --network web -p 8080:80 -- true"),
    run("run without a network", nothing, "run --name job --network none -- true"),
    run("run as another container", attached, "run --name job --network container:x -- true"),
    passing("network ls", attached, "network ls"),
    passing("network inspect", attached, "network inspect web db"),
    passing("ps", attached, "ps"),
    passing("inspect", attached, "inspect x"),
    passing("port", attached, "port x"),
    passing("explain", attached, "explain y 192.0.2.1:8080"),
    passing("doctor", attached, "doctor"),
    passing("plan attach", rebooted, "plan attach x --netns /run/netns/x --network web -p 8080:80"),
    passing("plan network create", networks, "plan network create own --subnet 10.88.3.0/24"),
    passing("plan run", networks, "plan run --name job --network web -p 8080:80 -- true"),
    Operation { next: "plan gc", ..passing("plan gc", garbage, "plan gc") },
    Operation {
        next: "plan reconcile",
        ..passing("plan reconcile", damaged_but_for_files, "plan reconcile")
    },
];

const fn nothing(_: &Ground) {}

fn networks(ground: &Ground) {
    ground.linkspan("network create web --subnet 10.88.1.0/24 --subnet fd88:1::/64");
    ground.linkspan("network create db --subnet 10.88.2.0/24 --icc=false");
}

fn attached(ground: &Ground) {
    networks(ground);
    ground.linkspan("attach x --netns /run/netns/x --network web --network db -p 8080:80 -p 8081:81/udp");
    ground.linkspan("attach y --netns /run/netns/y --network web");
}

fn on_default(ground: &Ground) {
    ground.linkspan("attach x --netns /run/netns/x -p 8080:80");
}

fn with_one_that_ends(ground: &Ground) {
    attached(ground);
    ground.attach_ending("--network web --network db -p 8082:80 -p 8083:81/udp");
}

/// Networks that are defined, on a host that started again.
fn rebooted(ground: &Ground) {
    networks(ground);
    ground.reboot();
}

fn rebooted_and_used(ground: &Ground) {
    rebooted(ground);
    ground.linkspan("attach y --netns /run/netns/y --network web");
    ground.linkspan("detach y");
}

fn rebooted_with_a_taken_port(ground: &Ground) {
    rebooted(ground);
    ground.linkspan("attach y --netns /run/netns/y --network web -p 8080:80");
}

fn without_bridge(ground: &Ground) {
    networks(ground);
    ground.delete_bridge("web");
}

fn died(ground: &Ground) {
    networks(ground);
    ground.attach_and_die("p", "--network web --ip 10.88.1.9 -p 8088:80");
}

fn on_a_bridge(ground: &Ground) {
    with_a_bridge(ground);
    ground.linkspan("network create own --subnet 10.88.3.0/24 --bridge-name br0");
}

fn with_a_kept_address(ground: &Ground) {
    attached(ground);
    ground.linkspan("detach --keep-address x");
}

fn with_a_bridge(ground: &Ground) {
    ground.tool("ip link add br0 type bridge");
    // An address of its own would be asked for first, for a second.
    ground.tool("ip link set br0 addrgenmode none");
    ground.tool("ip link set br0 up");
}

/// What nobody needs any more, of every kind, beside a container that lives.
fn garbage(ground: &Ground) {
    attached(ground);
    ground.attach_and_die("p", "--network web --network db -p 8083:80");
    ground.attach_and_die("q", "--network web -p 8084:80");
    // Its record is gone, and its namespace is still held.
    ground.linkspan("attach z --netns /run/netns/z --network db -p 8085:80");
    ground.lose_record("z");
    ground.attach_and_die("s", "--network db");
    ground.leave_pending("s");
    ground.write("/run/linkspan/attachments/.x.draft", "half");
    ground.linkspan("network create lost --subnet 10.88.4.0/24");
    ground.lose_network("lost");
    ground.attach_and_die("r", "--network web -p 8086:80");
    ground.tear_record("r");
}

/// What others took from us, of every kind.
fn damage(ground: &Ground) {
    damaged_but_for_files(ground);
    ground.write("/run/linkspan/claims", "");
    ground.write(&ground.leases("web"), "?");
    ground.write(&ground.leases("db"), "");
    ground.write(&ground.up("web"), "");
    fs::remove_file(ground.up("db")).unwrap();
}

fn damaged_but_for_files(ground: &Ground) {
    attached(ground);
    ground.linkspan("attach z --netns /run/netns/z --network db");
    ground.delete_bridge("web");
    ground.delete_link_of("z");
    ground.inside("x", "ip route delete default");
    ground.take_rules();
}
