//! Reading all that decides where packets go.

use super::home::{ALL, Home, where_there};
use super::observe::{ask, unread};
use super::{read, uapi};
use crate::Error;
use crate::survey::{
    BridgePort, CallsNetfilter, LinkAddress, Lookup, PolicyRule, RouteKind, Settings, Survey, SurveyedLink,
    TableRoute,
};
use ipnet::IpNet;
use linkspan_netlink::{Attribute, Attributes, Flags, Reply, Socket};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// The links' names by their numbers.
type Names = BTreeMap<u32, String>;

pub(super) fn survey(socket: &mut Socket, home: &Home) -> Result<Survey, Error> {
    let mut dump = |kind, header: usize, what| {
        let answer = ask(socket, kind, Flags::DUMP, |body| {
            body.bytes(&vec![0; header]);
            if kind == uapi::RTM_GETLINK {
                body.u32(uapi::IFLA_EXT_MASK, uapi::RTEXT_FILTER_SKIP_STATS);
            }
        });
        answer.map_err(unread(what))
    };
    let links = dump(uapi::RTM_GETLINK, uapi::LINK_HEADER, "links")?;
    let addresses = dump(uapi::RTM_GETADDR, uapi::ADDRESS_HEADER, "addresses")?;
    let routes = dump(uapi::RTM_GETROUTE, uapi::ROUTE_HEADER, "routes")?;
    let rules = dump(uapi::RTM_GETRULE, uapi::RULE_HEADER, "the rules of routing")?;

    let names: Names = links.iter().filter_map(|reply| named(reply.payload())).collect();
    let each = |replies: &[Reply]| replies.iter().map(|reply| reply.payload().to_vec()).collect::<Vec<_>>();
    let mut rules: Vec<_> = each(&rules).iter().filter_map(|rule| policy(rule)).collect();
    // Of one priority, the kernel asks them in the order in which it lists them.
    rules.sort_by_key(|rule| (rule.v6, rule.priority));
    Ok(Survey {
        links: each(&links).iter().filter_map(|message| link(message, &names)).collect(),
        addresses: each(&addresses).iter().filter_map(|message| address(message, &names)).collect(),
        routes: each(&routes).iter().filter_map(|message| route(message, &names)).collect(),
        rules,
        settings: settings(home)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&word| u32::from_ne_bytes(word))
}

fn behind(message: &[u8], header: usize) -> Attributes<'_> {
    Attributes::new(message.get(header..).unwrap_or_default())
}

fn named(message: &[u8]) -> Option<(u32, String)> {
    let name = behind(message, uapi::LINK_HEADER).get(uapi::IFLA_IFNAME)?.text()?.to_owned();
    Some((word(message, 4)?, name))
}

fn is_set(attributes: &Attributes<'_>, kind: u16) -> bool {
    attributes.get(kind).and_then(|a| a.u8()).is_some_and(|byte| byte != 0)
}

fn link(message: &[u8], names: &Names) -> Option<(String, SurveyedLink)> {
    let (index, name) = named(message)?;
    let flags = word(message, 8)?;
    let attributes = behind(message, uapi::LINK_HEADER);
    let info = attributes.get(uapi::IFLA_LINKINFO).map(|a| a.nested());
    let nested = |kind| info.as_ref().and_then(|info| info.get(kind)).map(|a| a.nested());
    let is = |kind| info.as_ref().and_then(|info| info.get(kind)).and_then(|a| a.text()) == Some("bridge");
    let setting = |number| setting(&attributes, number);
    let link = SurveyedLink {
        index,
        up: flags & uapi::IFF_UP != 0,
        loopback: flags & uapi::IFF_LOOPBACK != 0,
        bridge: is(uapi::IFLA_INFO_KIND).then(|| {
            let data = nested(uapi::IFLA_INFO_DATA).unwrap_or(Attributes::new(&[]));
            let [v4, v6] = [uapi::IFLA_BR_NF_CALL_IPTABLES, uapi::IFLA_BR_NF_CALL_IP6TABLES]
                .map(|kind| is_set(&data, kind));
            CallsNetfilter { v4, v6 }
        }),
        master: attributes
            .get(uapi::IFLA_MASTER)
            .and_then(|a| a.u32())
            .and_then(|index| names.get(&index).cloned()),
        port: is(uapi::IFLA_INFO_SLAVE_KIND)
            .then(|| port(&nested(uapi::IFLA_INFO_SLAVE_DATA).unwrap_or(Attributes::new(&[])))),
        forwarding: setting(uapi::IPV4_DEVCONF_FORWARDING) != 0,
        rp_filter: setting(uapi::IPV4_DEVCONF_RP_FILTER),
        accept_local: setting(uapi::IPV4_DEVCONF_ACCEPT_LOCAL) != 0,
        route_localnet: setting(uapi::IPV4_DEVCONF_ROUTE_LOCALNET) != 0,
    };
    Some((name, link))
}

/// One of the link's settings of IPv4: the array that the kernel reports begins with number 1.
fn setting(link: &Attributes<'_>, number: u16) -> u32 {
    let families = link.get(uapi::IFLA_AF_SPEC).map(|a| a.nested());
    let inet = families.and_then(|families| families.get(uapi::AF_INET.into()));
    let conf = inet.and_then(|inet| inet.nested().get(uapi::IFLA_INET_CONF));
    conf.and_then(|conf| word(conf.payload(), (usize::from(number) - 1) * 4)).unwrap_or_default()
}

fn port(data: &Attributes<'_>) -> BridgePort {
    BridgePort {
        forwards: data.get(uapi::IFLA_BRPORT_STATE).and_then(|a| a.u8()) == Some(uapi::BR_STATE_FORWARDING),
        hairpin: is_set(data, uapi::IFLA_BRPORT_MODE),
        isolated: is_set(data, uapi::IFLA_BRPORT_ISOLATED),
    }
}

fn address(message: &[u8], names: &Names) -> Option<LinkAddress> {
    let &[family, prefix, flags, scope, ..] = message.first_chunk::<{ uapi::ADDRESS_HEADER }>()?;
    let link = names.get(&word(message, 4)?)?.clone();
    let attributes = behind(message, uapi::ADDRESS_HEADER);
    let ip = |kind| attributes.get(kind).and_then(|a| read::ip(family, &a));
    let flags = attributes.get(uapi::IFA_FLAGS).and_then(|a| a.u32()).unwrap_or(flags.into());
    let peer = ip(uapi::IFA_ADDRESS)?;
    let address = ip(uapi::IFA_LOCAL).unwrap_or(peer);
    Some(LinkAddress {
        link,
        address,
        reaches: IpNet::new(peer, prefix).ok()?.trunc(),
        scope,
        secondary: address.is_ipv4() && flags & uapi::IFA_F_SECONDARY != 0,
        deprecated: flags & uapi::IFA_F_DEPRECATED != 0,
        tentative: flags & (uapi::IFA_F_TENTATIVE | uapi::IFA_F_DADFAILED) != 0
            && flags & uapi::IFA_F_OPTIMISTIC == 0,
    })
}

/// A route; those of the cache, and those that the kernel knows to be dead, are none.
fn route(message: &[u8], names: &Names) -> Option<TableRoute> {
    let &[family, length, from, tos, table, _, _, kind, ..] =
        message.first_chunk::<{ uapi::ROUTE_HEADER }>()?;
    if word(message, 8)? & (uapi::RTNH_F_DEAD | uapi::RTM_F_CLONED) != 0 {
        return None;
    }
    let attributes = behind(message, uapi::ROUTE_HEADER);
    let ip = |kind| attributes.get(kind).and_then(|a| read::ip(family, &a));
    let number = |kind| attributes.get(kind).and_then(|a| a.u32());
    let destination = ip(uapi::RTA_DST).or_else(|| read::unspecified(family))?;
    let conditional =
        [uapi::RTA_MULTIPATH, uapi::RTA_ENCAP].iter().any(|&kind| attributes.get(kind).is_some());
    Some(TableRoute {
        table: number(uapi::RTA_TABLE).unwrap_or(table.into()),
        kind: route_kind(kind),
        destination: IpNet::new(destination, length).ok()?,
        gateway: ip(uapi::RTA_GATEWAY).or_else(|| via(&attributes)),
        link: number(uapi::RTA_OIF).and_then(|index| names.get(&index).cloned()),
        metric: number(uapi::RTA_PRIORITY).unwrap_or_default(),
        source: ip(uapi::RTA_PREFSRC),
        conditional: conditional || from != 0 || tos != 0,
    })
}

/// `struct rtvia`: a next hop of the other family.
fn via(attributes: &Attributes<'_>) -> Option<IpAddr> {
    match attributes.get(uapi::RTA_VIA)?.payload().split_at_checked(2)? {
        (_, address) if address.len() == 16 => address.first_chunk::<16>().map(|&bytes| bytes.into()),
        (_, address) => address.first_chunk::<4>().map(|&bytes| bytes.into()),
    }
}

const fn route_kind(number: u8) -> RouteKind {
    match number {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        4 => RouteKind::Anycast,
        5 => RouteKind::Multicast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        8 => RouteKind::Prohibit,
        9 => RouteKind::Throw,
        other => RouteKind::Other(other),
    }
}

/// A rule of `struct fib_rule_hdr` of `linux/fib_rules.h`; those of families without addresses of ours are none.
fn policy(message: &[u8]) -> Option<PolicyRule> {
    let &[family, to, from, tos, table, _, _, action, ..] = message.first_chunk::<{ uapi::RULE_HEADER }>()?;
    let attributes = behind(message, uapi::RULE_HEADER);
    let number = |kind| attributes.get(kind).and_then(|a| a.u32());
    let net = |kind, length| {
        let address = attributes.get(kind).and_then(|a| read::ip(family, &a))?;
        IpNet::new(address, length).ok()
    };
    let inverted = word(message, 8)? & uapi::FIB_RULE_INVERT != 0;
    Some(PolicyRule {
        v6: match family {
            uapi::AF_INET => false,
            uapi::AF_INET6 => true,
            _ => return None,
        },
        priority: number(uapi::FRA_PRIORITY).unwrap_or_default(),
        from: net(uapi::FRA_SRC, from),
        to: net(uapi::FRA_DST, to),
        input: attributes.get(uapi::FRA_IIFNAME).and_then(|a| a.text()).map(str::to_owned),
        lookup: match action {
            uapi::FR_ACT_TO_TBL => Lookup::Table(number(uapi::FRA_TABLE).unwrap_or(table.into())),
            other => Lookup::Other(other),
        },
        conditional: inverted || tos != 0 || attributes.clone().any(|a| is_condition(&a)),
    })
}

/// Whether an attribute of a rule is a condition beside those that are read.
fn is_condition(attribute: &Attribute<'_>) -> bool {
    match attribute.kind() {
        uapi::FRA_DST | uapi::FRA_SRC | uapi::FRA_IIFNAME | uapi::FRA_PRIORITY | uapi::FRA_TABLE => false,
        uapi::FRA_PROTOCOL | uapi::FRA_PAD => false,
        uapi::FRA_SUPPRESS_PREFIXLEN | uapi::FRA_SUPPRESS_IFGROUP => attribute.u32() != Some(u32::MAX),
        _ => true,
    }
}

/// What has no message of its own is read as a file; what the kernel does not have is off.
fn settings(home: &Home) -> Result<Settings, Error> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(Path::new(ALL).join(name));
        let text = where_there(name, text)?.unwrap_or_default();
        Ok::<_, Error>(text.trim().parse::<u32>().unwrap_or_default())
    };
    home.run(|| {
        Ok(Settings {
            forwarding_v4: read("ipv4/ip_forward")? != 0,
            forwarding_v6: read("ipv6/conf/all/forwarding")? != 0,
            rp_filter: read("ipv4/conf/all/rp_filter")?,
            accept_local: read("ipv4/conf/all/accept_local")? != 0,
            route_localnet: read("ipv4/conf/all/route_localnet")? != 0,
            calls_netfilter: CallsNetfilter {
                v4: read("bridge/bridge-nf-call-iptables")? != 0,
                v6: read("bridge/bridge-nf-call-ip6tables")? != 0,
            },
        })
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let names = Names::from([(1, "lo".to_owned())]);
            let _ = (named(&bytes), link(&bytes, &names), address(&bytes, &names));
            let _ = (route(&bytes, &names), policy(&bytes));
        }
    }
}
