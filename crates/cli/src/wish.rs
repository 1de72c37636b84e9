//! From the words of the command line to what the library is asked for.

use crate::args::{EndpointArgs, Gateway, Joined, NetworkCreate};
use crate::fault::{Fault, chain};
use ipnet::IpNet;
use linkspan::{
    Container, ContainerName, Egress, Endpoint, GatewayMode, Mode, Neighbours, Network, NetworkName, Subnet,
};
use std::error::Error;
use std::fmt::Display;
use std::net::IpAddr;

/// The network that `network create` asks for.
pub(crate) fn network(args: &NetworkCreate) -> Result<Network, Fault> {
    let mut network = Network::bridge(args.name.clone());
    for subnet in subnets(args)? {
        network = network.subnet(subnet);
    }
    if args.ipv6 {
        network = network.ipv6();
    }
    network = gateway_mode(args)?.into_iter().fold(network, Network::gateway_mode);
    network = egress(args)?.into_iter().fold(network, Network::egress);
    if !args.icc {
        network = network.neighbours(Neighbours::PublishedOnly);
    }
    network = args.trusted_interface.iter().copied().fold(network, Network::trust);
    network = args.mtu.into_iter().fold(network, Network::mtu);
    network = args.bridge_name.into_iter().fold(network, Network::link);
    Ok(args.label.iter().fold(network, |network, label| network.label(&label.key, &label.value)))
}

/// What the gateway does; an internal network has a gateway that leads nowhere, or none.
fn gateway_mode(args: &NetworkCreate) -> Result<Option<GatewayMode>, Fault> {
    Ok(Some(match (args.gateway_mode, args.internal) {
        (None, false) => return Ok(None),
        (Some(Gateway::Isolated), _) => GatewayMode::Isolated,
        (None | Some(Gateway::Nat), true) => GatewayMode::Internal,
        (Some(Gateway::Nat), false) => GatewayMode::Nat,
        (Some(Gateway::NatUnprotected), false) => GatewayMode::NatUnprotected,
        (Some(Gateway::Routed), false) => GatewayMode::Routed,
        (Some(_), true) => {
            return Err(Fault::Usage("--internal does not go with that --gateway-mode".to_owned()));
        }
    }))
}

fn egress(args: &NetworkCreate) -> Result<Option<Egress>, Fault> {
    one_of_each_family("--snat", args.snat.iter().copied())?;
    if args.no_masquerade {
        return Ok(Some(Egress::Keep));
    }
    let (mut ipv4, mut ipv6) = (None, None);
    for address in &args.snat {
        match address {
            IpAddr::V4(v4) => ipv4 = Some(*v4),
            IpAddr::V6(v6) => ipv6 = Some(*v6),
        }
    }
    Ok((!args.snat.is_empty()).then_some(Egress::Fixed { ipv4, ipv6 }))
}

/// The given subnets, each with what was given of its family.
fn subnets(args: &NetworkCreate) -> Result<Vec<Subnet>, Fault> {
    one_of_each_family("--subnet", args.subnet.iter().map(IpNet::addr))?;
    one_of_each_family("--gateway", args.gateway.iter().copied())?;
    one_of_each_family("--ip-range", args.ip_range.iter().map(IpNet::addr))?;
    let mut subnets = Vec::new();
    for net in &args.subnet {
        subnets.push(Subnet::new(*net).map_err(|why| wrong("--subnet", net, &why))?);
    }
    for gateway in &args.gateway {
        on(&mut subnets, "--gateway", *gateway, gateway, |subnet| subnet.with_gateway(*gateway))?;
    }
    for range in &args.ip_range {
        on(&mut subnets, "--ip-range", range.addr(), range, |subnet| subnet.with_range(*range))?;
    }
    for aux in &args.aux_address {
        let shown = format!("{}={}", aux.name, aux.address);
        on(&mut subnets, "--aux-address", aux.address, &shown, |subnet| {
            subnet.with_aux(&aux.name, aux.address)
        })?;
    }
    Ok(subnets)
}

/// Changes the subnet of the address's family.
fn on<E: Error>(
    subnets: &mut [Subnet],
    flag: &str,
    address: IpAddr,
    value: impl Display,
    change: impl FnOnce(Subnet) -> Result<Subnet, E>,
) -> Result<(), Fault> {
    let family = |subnet: &&mut Subnet| subnet.gateway().is_ipv4() == address.is_ipv4();
    let subnet = subnets.iter_mut().find(family);
    let subnet =
        subnet.ok_or_else(|| Fault::Usage(format!("{flag} {value} needs a --subnet of its family")))?;
    *subnet = change(subnet.clone()).map_err(|why| wrong(flag, &value, &why))?;
    Ok(())
}

fn wrong(flag: &str, value: &impl Display, why: &dyn Error) -> Fault {
    Fault::Usage(format!("invalid value '{value}' for {flag}: {}", chain(why)))
}

fn one_of_each_family(flag: &str, given: impl Iterator<Item = IpAddr>) -> Result<(), Fault> {
    let (v4, v6): (Vec<_>, Vec<_>) = given.partition(IpAddr::is_ipv4);
    match [("IPv4", v4), ("IPv6", v6)].into_iter().find(|(_, given)| given.len() > 1) {
        Some((family, _)) => Err(Fault::Usage(format!("{flag} is given twice for {family}"))),
        None => Ok(()),
    }
}

/// The container that `run` asks for, and the mode that it runs in.
pub(crate) fn container(name: ContainerName, args: &EndpointArgs) -> Result<(Mode, Container), Fault> {
    one_of_each_family("--ip", args.ip.iter().copied())?;
    let mode = match &args.network[..] {
        [Joined::Host] => Mode::Host,
        [Joined::None] => Mode::None,
        [Joined::Container(other)] => Mode::Container(other.clone()),
        several => return on_networks(name, args, several),
    };
    match given(args).into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            Err(Fault::Usage(format!("{flag} cannot be given with --network {}", mode.as_str())))
        }
        None => Ok((mode, Container::new(name))),
    }
}

/// The container that `attach` asks for: the namespace is given, so the mode is that of its own.
pub(crate) fn attached(name: ContainerName, args: &EndpointArgs) -> Result<Container, Fault> {
    match container(name, args)? {
        (Mode::Bridge | Mode::None, container) => Ok(container),
        (mode, _) => Err(Fault::Usage(format!("--network {} is for run, not for attach", mode.as_str()))),
    }
}

fn on_networks(
    name: ContainerName,
    args: &EndpointArgs,
    networks: &[Joined],
) -> Result<(Mode, Container), Fault> {
    let names = networks.iter().map(|network| match network {
        Joined::Network(name) => Ok(name.clone()),
        Joined::Host | Joined::None | Joined::Container(_) => {
            Err(Fault::Usage(format!("--network {} is given alone", word(network))))
        }
    });
    let mut names = names.collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        names.push(NetworkName::default_bridge());
    }
    if let ([_, _, ..], Some(flag)) = (&names[..], of_one_network(args)) {
        return Err(Fault::Usage(format!("{flag} belongs to one network, and {} are given", names.len())));
    }
    let container =
        names.into_iter().map(|name| endpoint(name, args)).fold(Container::new(name), Container::on);
    let published = args.publish.iter().flat_map(|ports| &ports.0).copied();
    Ok((Mode::Bridge, published.fold(container, Container::publish)))
}

fn endpoint(network: NetworkName, args: &EndpointArgs) -> Endpoint {
    let endpoint = args.ip.iter().copied().fold(Endpoint::new(network), Endpoint::address);
    let endpoint = args.mac.into_iter().fold(endpoint, Endpoint::mac);
    args.ifname.into_iter().fold(endpoint, Endpoint::link)
}

/// What an endpoint was given, by flag.
const fn given(args: &EndpointArgs) -> [(&'static str, bool); 4] {
    [
        ("--ip", !args.ip.is_empty()),
        ("--mac", args.mac.is_some()),
        ("--ifname", args.ifname.is_some()),
        ("--publish", !args.publish.is_empty()),
    ]
}

fn of_one_network(args: &EndpointArgs) -> Option<&'static str> {
    // Ports belong to the container, whatever its networks.
    given(args).into_iter().take(3).find_map(|(flag, given)| given.then_some(flag))
}

const fn word(network: &Joined) -> &str {
    match network {
        Joined::Host => "host",
        Joined::None => "none",
        Joined::Container(_) => "container",
        Joined::Network(_) => "bridge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, NetworkCommand};
    use clap::Parser;
    use linkspan::Publish;

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(["linkspan"].into_iter().chain(line.split_whitespace())).unwrap().command
    }

    fn network_of(line: &str) -> Result<Network, String> {
        let Command::Network(NetworkCommand::Create(args)) = parse(&format!("network create web {line}"))
        else {
            panic!("{line}")
        };
        network(&args).map_err(|fault| fault.line().replace("; see `linkspan help`", ""))
    }

    fn container_of(line: &str) -> Result<(Mode, Container), String> {
        let Command::Run(args) = parse(&format!("run {line} true")) else { panic!("{line}") };
        let wanted = container("web".parse().unwrap(), &args.endpoint);
        wanted.map_err(|fault| fault.line().replace("; see `linkspan help`", ""))
    }

    fn endpoint_on(name: &str) -> Endpoint {
        Endpoint::new(name.parse().unwrap())
    }

    fn web() -> Container {
        Container::new("web".parse().unwrap())
    }

    #[test]
    fn who_can_talk_to_whom_is_asked_for_in_dockers_words() {
        let plain = || Network::bridge("web".parse().unwrap());
        let check = |line: &str, expected: Network| assert_eq!(network_of(line), Ok(expected), "{line}");
        check("--internal", plain().gateway_mode(GatewayMode::Internal));
        check("--gateway-mode isolated --internal", plain().gateway_mode(GatewayMode::Isolated));
        check("--gateway-mode nat-unprotected", plain().gateway_mode(GatewayMode::NatUnprotected));
        check("--icc=false", plain().neighbours(Neighbours::PublishedOnly));
        check("--icc=true", plain());
        check("--no-masquerade", plain().egress(Egress::Keep));
        let ipv4 = Some("192.0.2.9".parse().unwrap());
        check("--snat 192.0.2.9", plain().egress(Egress::Fixed { ipv4, ipv6: None }));
        let refused = |line: &str| network_of(line).unwrap_err();
        assert_eq!(
            refused("--internal --gateway-mode routed"),
            "--internal does not go with that --gateway-mode"
        );
        assert_eq!(refused("--snat 1.1.1.1 --snat 1.1.1.2"), "--snat is given twice for IPv4");
    }

    #[test]
    fn what_is_given_of_a_subnet_goes_to_that_of_its_family() {
        let subnet = |text: &str| Subnet::new(text.parse().unwrap()).unwrap();
        let v4 = subnet("10.0.0.0/24").with_gateway("10.0.0.9".parse().unwrap()).unwrap();
        let v4 = v4.with_aux("r", "10.0.0.1".parse().unwrap()).unwrap();
        let v6 = subnet("fd00::/64").with_range("fd00::/96".parse().unwrap()).unwrap();
        let wanted = Network::bridge("web".parse().unwrap()).subnet(v4).subnet(v6);
        let line = "--subnet fd00::/64 --ip-range fd00::/96 --subnet 10.0.0.0/24 --aux-address r=10.0.0.1 --gateway 10.0.0.9";
        assert_eq!(network_of(line).unwrap(), wanted);
        let wanted = Network::bridge("web".parse().unwrap()).ipv6().label("a", "b").label("c", "");
        let wanted = wanted.mtu("1400".parse().unwrap()).link("br0".parse().unwrap());
        assert_eq!(network_of("--ipv6 --label a=b --label c --mtu 1400 --bridge-name br0").unwrap(), wanted);
    }

    #[test]
    fn a_network_that_cannot_be_is_refused() {
        let check =
            |line: &str, expected: &str| assert_eq!(network_of(line).unwrap_err(), expected, "{line}");
        check("--subnet 10.0.0.0/24 --subnet 10.0.1.0/24", "--subnet is given twice for IPv4");
        check("--gateway 10.0.0.1", "--gateway 10.0.0.1 needs a --subnet of its family");
        check(
            "--subnet fd00::/64 --ip-range 10.0.0.0/24",
            "--ip-range 10.0.0.0/24 needs a --subnet of its family",
        );
        check(
            "--subnet 10.0.0.5/24",
            "invalid value '10.0.0.5/24' for --subnet: subnet 10.0.0.5/24 has host bits set, 10.0.0.0/24 has not",
        );
        check(
            "--subnet 10.0.0.0/24 --gateway 10.0.1.1",
            "invalid value '10.0.1.1' for --gateway: address 10.0.1.1 is not in subnet 10.0.0.0/24",
        );
        check(
            "--subnet 10.0.0.0/24 --aux-address a=10.0.0.1",
            "invalid value 'a=10.0.0.1' for --aux-address: address 10.0.0.1 is the gateway",
        );
    }

    #[test]
    fn networks_are_joined_in_the_order_they_were_given() {
        let check = |line: &str, mode: Mode, wanted: Container| {
            assert_eq!(container_of(line).unwrap(), (mode, wanted), "{line}");
        };
        check("", Mode::Bridge, web().on(endpoint_on("bridge")));
        check("--network b --network a", Mode::Bridge, web().on(endpoint_on("b")).on(endpoint_on("a")));
        check("--network host", Mode::Host, web());
        check("--network none", Mode::None, web());
        check("--network container:db", Mode::Container("db".to_owned()), web());
        let endpoint =
            endpoint_on("a").address("10.0.0.2".parse().unwrap()).address("fd00::2".parse().unwrap());
        let endpoint = endpoint.mac("02:42:0a:00:00:02".parse().unwrap()).link("net0".parse().unwrap());
        let line = "--network a --ip 10.0.0.2 --ip fd00::2 --mac 02:42:0a:00:00:02 --ifname net0";
        check(line, Mode::Bridge, web().on(endpoint));
        let published = web()
            .on(endpoint_on("bridge"))
            .publish(Publish::tcp(80).at(8080))
            .publish(Publish::tcp(81).at(8081));
        check("-p 8080-8081:80-81", Mode::Bridge, published);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let check =
            |line: &str, expected: &str| assert_eq!(container_of(line).unwrap_err(), expected, "{line}");
        check("--network host -p 80", "--publish cannot be given with --network host");
        check("--network none --ip 10.0.0.2", "--ip cannot be given with --network none");
        check(
            "--network container:x --mac 02:00:00:00:00:01",
            "--mac cannot be given with --network container",
        );
        check("--network none --ifname eth5", "--ifname cannot be given with --network none");
        check("--network host --network a", "--network host is given alone");
        check("--network a --network none", "--network none is given alone");
        check("--network a --network b --ip 10.0.0.2", "--ip belongs to one network, and 2 are given");
        check("--ip 10.0.0.2 --ip 10.0.0.3", "--ip is given twice for IPv4");
        let Command::Attach(args) = parse("attach web --pid 1 --network host") else { panic!("attach") };
        let fault = attached("web".parse().unwrap(), &args.endpoint).unwrap_err();
        assert_eq!((fault.status(), fault.line().contains("is for run, not for attach")), (2, true));
    }
}
