//! Hosts that were explained wrongly once, with what was asked.

/// What one types to have the host, and the words of questions.
pub(super) type KnownHost = (&'static str, &'static [(&'static str, &'static str)]);

pub(super) const KNOWN: [KnownHost; 14] = [
    // What the host sends to its own gateway is masqueraded on the loopback link.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24 --subnet fd88:1::/64
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1 -p 8000:80",
        &[("host", "10.88.1.1"), ("host", "10.88.1.1:7000/udp"), ("host", "[fd88:1::1]:7000/tcp")],
    ),
    // A frame that is led back to its bridge needs forwarding, of IPv4 alone.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24 --subnet fd88:1::/64
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1 -p 8000:80
sysctl -qw net.ipv4.conf.br1.forwarding=0 net.ipv6.conf.all.forwarding=0",
        &[("c0", "192.0.2.1:8000/tcp"), ("c0", "[2001:db8::1]:8000/tcp"), ("outside", "host:8000")],
    ),
    // The last hook of a bridged frame does not say by which link it came.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1
ip netns add c1
linkspan attach c1 --netns /run/netns/c1 --network n1
nft 'table ip guard { chain gate { type nat hook postrouting priority 90; iifname br* snat to 192.0.2.7; }; }'",
        &[("c0", "c1:7000"), ("c0", "192.0.2.77:7000")],
    ),
    // What comes in by the loopback link was tracked on its way out.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1
nft 'table ip guard { chain gate { type filter hook prerouting priority -300; ct state invalid drop; }; }'",
        &[("host", "192.0.2.1:7000"), ("host", "127.0.0.1"), ("c0", "host:7000"), ("outside", "host")],
    ),
    // The first answer of TCP has SYN and ACK, and no other flag.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1
nft 'table ip guard { chain gate { type filter hook forward priority 10; tcp flags & (syn | ack) == syn | ack drop; }; }'",
        &[("c0", "192.0.2.77:7000"), ("c0", "192.0.2.77:7000/udp"), ("host", "c0:7000")],
    ),
    // Rules behind a masquerade see the address of the link.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1
nft 'table ip guard { chain gate { type filter hook postrouting priority 150; ip saddr 10.88.1.2 drop; ip saddr 192.0.2.1 udp dport 7000 drop; }; }'",
        &[("c0", "192.0.2.77:7000"), ("c0", "192.0.2.77:7000/udp")],
    ),
    // Neighbours of IPv6 are asked for from an address of the link.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24 --subnet fd88:1::/64
linkspan network create n2 --bridge-name br2 --subnet 10.88.2.0/24 --subnet fd88:2::/64
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n2 --network n1
ip -n c0 addr flush dev eth1",
        &[("c0", "outside"), ("c0", "2001:db8::2"), ("c0", "[fd88:1::1]:7000"), ("c0", "10.88.1.1")],
    ),
    // Nobody comes in by a link that is down.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1 -p 8000:80
ip link set uplink down",
        &[("outside", "host:8000"), ("outside", "192.0.2.1"), ("c0", "outside")],
    ),
    // A container without a gateway knows the host by any address.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24 --gateway-mode isolated
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1
ip link set uplink down",
        &[("c0", "host:7000"), ("c0", "outside")],
    ),
    // What the host sends itself is routed by its source too, and so are its answers.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24 --subnet fd88:1::/64
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1 -p 8000:80
ip rule add from 10.88.1.0/24 lookup 77
ip route add default via 192.0.2.2 table 77",
        &[("host", "c0:7000"), ("c0", "host:7000/udp"), ("c0", "outside"), ("outside", "host:8000")],
    ),
    // A connection whose target was translated has another bit of its status with it.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1 -p 8000:80
nft 'table ip guard { chain gate { type filter hook forward priority -10; ct status != dnat drop; }; }'",
        &[("outside", "host:8000"), ("c0", "192.0.2.77:7000")],
    ),
    // Nobody takes what comes from himself.
    (
        "linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n1
nft 'table ip guard { chain gate { type nat hook prerouting priority -110; tcp dport 8000 dnat to 192.0.2.2:80; }; }'",
        &[("outside", "host:8000")],
    ),
    // What comes again by way of a container is not masqueraded the second time.
    (
        "linkspan network create n0 --bridge-name br0 --subnet 10.88.0.0/24 --subnet fd88::/64
linkspan network create n1 --bridge-name br1 --subnet 10.88.1.0/24 --subnet fd88:1::/64 --gateway-mode isolated --no-masquerade
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n0
ip netns add c1
linkspan attach c1 --netns /run/netns/c1 --network n1 --network n0
ip netns add c2
linkspan attach c2 --netns /run/netns/c2 --network n1 --network n0
nsenter --net=/run/netns/c2 sysctl -qw net.ipv6.conf.all.forwarding=1
ip -n c0 route replace fd88:1::/64 via fd88::4 onlink dev eth0",
        &[("c0", "[fd88:1::2]:80/tcp")],
    ),
    // Neighbours of IPv6 ask all for each other before anything is sent.
    (
        "linkspan network create n0 --bridge-name br0 --subnet 10.88.0.0/24 --subnet fd88::/64 --icc=false
ip netns add c0
linkspan attach c0 --netns /run/netns/c0 --network n0
ip netns add c1
linkspan attach c1 --netns /run/netns/c1 --network n0
nft 'add rule inet linkspan linkspan-user ip6 daddr fd88::/16 accept' 2>/dev/null || ip6tables -A linkspan-user -d fd88::/16 -j ACCEPT",
        &[("c1", "c0:80/udp"), ("c1", "[fd88::2]:80"), ("c0", "[fd88::3]")],
    ),
];
