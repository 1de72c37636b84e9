use super::*;
use crate::fault::of_clap;
use clap::CommandFactory;
use proptest::prelude::*;

/// Parses a line and says `ok`, or what is wrong with it.
#[track_caller]
fn check(line: &str, expected: &str) {
    let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
    let shown = match Cli::try_parse_from(["linkspan"].into_iter().chain(words)) {
        Ok(_) => "ok".to_owned(),
        Err(error) => of_clap(&error).line().replace("; see `linkspan help`", ""),
    };
    assert_eq!(shown, expected, "{line}");
}

#[test]
fn the_command_is_whole() {
    Cli::command().debug_assert();
}

#[test]
fn dockers_words_are_understood() {
    check("network create web", "ok");
    check("network create web -d bridge --subnet 10.0.0.0/8 --subnet fd00::/64 --ipv6 --mtu 1400", "ok");
    check("network create web --gateway 10.0.0.1 --ip-range 10.0.1.0/24 --aux-address r=10.0.0.9", "ok");
    check("network create web --bridge-name br0 --label a=b --label c", "ok");
    check("network ls", "ok");
    check("network list --json", "ok");
    check("network inspect web 0a1b2c", "ok");
    check("network rm -f web db", "ok");
    check("attach web --pid 1", "ok");
    check("attach web --netns /run/netns/web --network web --network db -p 80 --publish [::1]:8080:80", "ok");
    check("attach web --pid 1 --ip 10.0.0.2 --ip fd00::2 --mac 02:42:0a:00:00:02 --ifname net0", "ok");
    check("run true", "ok");
    check("run --name web --hostname web --network container:db -- ip -br link --json", "ok");
    check("run -p 8000-8009:80-89/udp --network host true --name x", "ok");
    check("--json --run-dir /a --state-dir /b --firewall iptables --forwarding off --instance ci ps", "ok");
    check("ps --json --firewall none", "ok");
    check("doctor --json", "ok");
    check("plan run -- true", "ok");
    check("plan attach web --pid 1", "ok");
    check("plan network create web", "ok");
    check("explain web db:80", "ok");
    check("explain 198.51.100.7 [fd88::2]:80/udp --json", "ok");
}

#[test]
fn what_is_wrong_is_named_in_one_line() {
    check("", "no command is given");
    check("network", "no command is given");
    check("frob", "unrecognized subcommand 'frob'");
    check("demmo", "unrecognized subcommand 'demmo'; a similar subcommand exists: 'demo'");
    check("ps --frob", "unexpected argument '--frob' found");
    check("detach", "the following required arguments were not provided: <NAME>...");
    check("explain web", "the following required arguments were not provided: <TO[:PORT[/PROTO]]>");
    check("attach web", "the following required arguments were not provided: <--netns <PATH>|--pid <PID>>");
    check("attach web --pid 1 --netns /x", "the argument '--pid <PID>' cannot be used with '--netns <PATH>'");
    check("run", "the following required arguments were not provided: <COMMAND>...");
}

#[test]
fn options_of_what_is_not_there_are_refused() {
    check("network create web --encrypted", "unexpected argument '--encrypted' found");
    check("attach web --pid 1 --alias a", "unexpected argument '--alias' found");
    check("gc --all", "unexpected argument '--all' found");
}

#[test]
fn a_wrong_value_is_named_with_its_field() {
    let check = |line: &str, value: &str, field: &str, why: &str| {
        check(line, &format!("invalid value '{value}' for '{field}': {why}"));
    };
    let name = "a name begins with a letter or a digit, not with";
    check("network create ../x", "../x", "<NAME>", &format!("{name} '.'"));
    check("network create a --subnet x", "x", "--subnet <CIDR>", "invalid IP address syntax");
    check("network create a --gateway x", "x", "--gateway <IP>", "invalid IP address syntax");
    check("network create a --ip-range x", "x", "--ip-range <CIDR>", "invalid IP address syntax");
    check("network create a --aux-address x", "x", "--aux-address <NAME=IP>", "it is NAME=IP");
    let mtu = "an MTU is a number of bytes from 68 to 65535";
    check("network create a --mtu 67", "67", "--mtu <N>", mtu);
    let long = "an interface name has at most 15 bytes, not 16";
    check("network create a --bridge-name 0123456789abcdef", "0123456789abcdef", "--bridge-name <IF>", long);
    let key = "it is KEY=VALUE, and the key is not empty";
    check("network create a --label =b", "=b", "--label <KEY=VALUE>", key);
    check("attach ?a --pid 1", "?a", "<NAME>", &format!("{name} '?'"));
    check("attach a --pid 0", "0", "--pid <PID>", "process number \"0\" is not within 1 to 2147483647");
    check("attach a --pid 1 --network .", ".", "--network <NETWORK>", &format!("{name} '.'"));
    check("run --network container: true", "container:", "--network <NETWORK>", "a name is not empty");
    check("run --ip 1.2.3 true", "1.2.3", "--ip <IP>", "invalid IP address syntax");
    let mac = "a MAC address is six pairs of hexadecimal digits, such as 02:42:0a:58:00:02";
    check("run --mac 02:42 true", "02:42", "--mac <MAC>", mac);
    let port = "the host's port is wrong: a port is a number from 1 to 65535";
    check("run -p 65536:80 true", "65536:80", "--publish <PORT>", port);
    check("run --ifname a/b true", "a/b", "--ifname <IF>", "an interface name does not hold '/'");
    let firewall = "a firewall is nftables, iptables or none";
    check("ps --firewall pf", "pf", "--firewall <FIREWALL>", firewall);
    let instance = "an instance holds a-z, 0-9 and `-`, not '_'";
    check("ps --instance a_b", "a_b", "--instance <NAME>", instance);
    check("inspect ''", "", "<NAME>", "a name is not empty");
}

fn word() -> impl Strategy<Value = String> {
    let known = [
        "network",
        "create",
        "attach",
        "run",
        "ps",
        "plan",
        "--",
        "--subnet",
        "--gateway",
        "--ip-range",
        "--aux-address",
        "--mtu",
        "--label",
        "--netns",
        "--pid",
        "--network",
        "--ip",
        "--mac",
        "-p",
        "--json",
        "--firewall",
        "--forwarding",
        "--instance",
        "--hostname",
        "10.0.0.0/24",
        "fd00::/64",
        "web",
    ];
    prop_oneof![
        3 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[0-9a-f:./=\\[\\]-]{0,20}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_line_panics_or_is_told_in_two_lines(words in proptest::collection::vec(word(), 0..8)) {
        let words = ["linkspan".to_owned()].into_iter().chain(words);
        if let Err(error) = Cli::try_parse_from(words) {
            let line = of_clap(&error).line();
            prop_assert!(!line.contains(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn no_value_panics(text: String) {
        let _ = (joined(&text), ports(&text), aux_address(&text), label(&text), name_or_id(&text));
    }
}

/// What of a line is read without clap is what clap reads.
#[track_caller]
fn check_plain(words: &[&str], read_plainly: bool) {
    let plain = plain::read(words.iter().map(Into::into));
    assert_eq!(plain.is_some(), read_plainly, "{words:?}: {plain:?}");
    let clap = Cli::try_parse_from(["linkspan"].iter().chain(words));
    if let Some(plain) = plain {
        let clap = clap.unwrap_or_else(|refused| panic!("{words:?} is refused by clap: {refused}"));
        assert_eq!(format!("{plain:?}"), format!("{clap:?}"), "{words:?}");
    }
}

#[test]
fn the_lines_of_a_runtime_are_read_without_clap() {
    for (line, read_plainly) in [
        ("attach web --netns /run/netns/web", true),
        ("attach web --pid 1 --network web -p 8080:80 --publish=443 --ip 10.0.0.2", true),
        ("attach --json --run-dir /a --netns=/run/netns/web web --net none --ifname net0", true),
        ("attach --netns /n --mac-address 02:42:0a:00:00:02 --firewall iptables --instance ci web", true),
        ("detach web db 0a1b2c3d4e5f", true),
        ("detach --keep-address web --state-dir /b --json", true),
        ("detach attach", true),
        ("--json detach web", false),
        ("attach web", false),
        ("attach web --pid 1 --netns /n", false),
        ("attach web --pid 1 --pid 1", false),
        ("attach web --pid 1 --keep-address", false),
        ("attach web --pid=-1", false),
        ("attach web --pid 1 -p=80", false),
        ("attach web --pid 1 -p80", false),
        ("attach web --pid 1 --hostname x", false),
        ("attach w/b --pid 1", false),
        ("detach", false),
        ("detach web --json --json", false),
        ("detach -- web", false),
        ("plan attach web --pid 1", false),
        ("network detach", false),
        ("detach --help", false),
        ("ps", false),
        ("", false),
    ] {
        check_plain(&line.split_whitespace().collect::<Vec<_>>(), read_plainly);
    }
}

proptest! {
    #[test]
    fn nothing_is_read_without_clap_that_clap_reads_otherwise(
        verb in prop::sample::select(vec!["attach", "detach"]),
        words in prop::collection::vec(
            prop::sample::select(vec![
                "attach", "detach", "attach", "detach", "web", "db", "--netns", "/n", "--netns=/n", "--pid", "7", "--network", "none",
                "host", "container:db", "--net=web", "--ip", "10.0.0.2", "--mac", "02:42:0a:00:00:02", "-p", "80", "8000-8001:80-81",
                "-p80", "--publish=80/udp", "--ifname", "eth7", "--json", "--json=true", "--run-dir", "--run-dir=/a", "--state-dir", "/b",
                "--firewall", "none", "--instance", "ci", "--forwarding", "off", "--keep-address", "--", "-", "", "=", "--help", "-h",
                "help", "plan", "run", "ps", "--netns=", "-p=80", "--firewall=pf",
            ]),
            0..8,
        )
    ) {
        let words = [&[verb], &words[..]].concat();
        let plain = plain::read(words.iter().map(Into::into));
        if let Some(plain) = plain {
            let clap = Cli::try_parse_from(["linkspan"].iter().chain(&words));
            let clap = clap.map_err(|refused| TestCaseError::fail(refused.to_string()))?;
            prop_assert_eq!(format!("{plain:?}"), format!("{clap:?}"));
        }
    }
}
