//! Rules as the expressions that the kernel runs, in the order in which nft writes and reads them.

use super::LIST_ELEM;
use super::element::{verdict, verdict_of};
use crate::Instance;
use crate::nftables::layout::{Act, Field, Match, Rule};
use crate::nftables::text::Named;
use crate::nftables::{Chain, Set};
use linkspan_netlink::Body;

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
pub(super) const NAME: u16 = 1;
pub(super) const DATA: u16 = 2;
/// `NFTA_DATA_VALUE`.
const VALUE: u16 = 1;

/// `NF_DROP` and `NF_ACCEPT` of `linux/netfilter.h`; `NFT_JUMP` and `NFT_RETURN`.
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;
const RETURN: i32 = -5;

/// `NFT_META_*`.
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;

/// `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6` of `linux/netfilter.h`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// `NFT_CMP_EQ` and `NFT_CMP_NEQ`.
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;

/// `NFT_CT_STATE` and `NFT_CT_STATUS`.
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// `NF_CT_STATE_BIT` of `IP_CT_ESTABLISHED` and `IP_CT_RELATED`.
const ANSWER: u32 = 2 | 4;
/// `IPS_DST_NAT` of `linux/netfilter/nf_conntrack_common.h`.
const TRANSLATED: u32 = 1 << 5;

/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_DADDR`; `RTN_LOCAL` of `linux/rtnetlink.h`.
const ADDRESS_TYPE: u32 = 3;
const OF_TARGET: u32 = 2;
const LOCAL: u32 = 2;

/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;

/// `NFT_NAT_SNAT` and `NFT_NAT_DNAT`.
const SNAT: u32 = 0;
const DNAT: u32 = 1;

/// A register of four bytes: `NFT_REG32_00` is 8. A longer value goes on in the next ones.
#[derive(Clone, Copy)]
struct Register(u32);

impl Register {
    const FIRST: Self = Self(8);
    /// `NFT_REG_VERDICT`.
    const VERDICT: Self = Self(0);

    /// The first register behind a value of this many bytes.
    const fn behind(self, bytes: u32) -> Self {
        Self(self.0 + bytes.div_ceil(4))
    }

    /// Its number as the kernel lists it: where one of 16 bytes begins, it is that one, `NFT_REG_1` to `_4`.
    const fn number(self) -> u32 {
        if self.0.is_multiple_of(4) { self.0.saturating_sub(4) / 4 } else { self.0 }
    }
}

/// Writes the expressions of a rule.
pub(super) fn write(body: &mut Body<'_>, rule: &Rule, instance: Instance) {
    let mut writer = Writer { body, family: None };
    rule.when.iter().for_each(|condition| writer.condition(condition));
    writer.act(rule.act, instance);
}

struct Writer<'a, 'b> {
    body: &'a mut Body<'b>,
    /// The family that the packet was found to be of.
    family: Option<u8>,
}

impl Writer<'_, '_> {
    fn condition(&mut self, condition: &Match) {
        match *condition {
            Match::In(key, set) => self.look_up(key, set, None, false),
            Match::NotIn(key, set) => self.look_up(key, set, None, true),
            Match::Begins(field, octets, _) => {
                self.require_family(&[field]);
                let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
                self.load_octets(field, length, Register::FIRST);
                self.compare(EQUAL, octets);
            }
            Match::Carries(number, _) => {
                self.load(Field::Protocol, Register::FIRST);
                self.compare(EQUAL, &[number]);
            }
            Match::ToHost => self.target_is_local(EQUAL),
            Match::NotToHost => self.target_is_local(UNEQUAL),
            Match::Published => self.connection_has(CT_STATUS, TRANSLATED),
            Match::Answer => self.connection_has(CT_STATE, ANSWER),
        }
    }

    fn act(&mut self, act: Act, instance: Instance) {
        match act {
            Act::Accept => self.decide(ACCEPT, None, instance),
            Act::Drop => self.decide(DROP, None, instance),
            Act::Return => self.decide(RETURN, None, instance),
            Act::Jump(chain) => self.decide(JUMP, Some(chain), instance),
            Act::Masquerade => self.expression("masq", |_| {}),
            Act::Decide(key, map) => self.look_up(key, map, Some(Register::VERDICT), false),
            Act::Dnat4(key, map) => self.translate(DNAT, IPV4, key, map),
            Act::Dnat6(key, map) => self.translate(DNAT, IPV6, key, map),
            Act::Snat4(key, map) => self.translate(SNAT, IPV4, key, map),
            Act::Snat6(key, map) => self.translate(SNAT, IPV6, key, map),
        }
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Body<'_>)) {
        self.body.nest(LIST_ELEM, |body| {
            body.text(NAME, name);
            body.nest(DATA, data);
        });
    }

    /// An address means nothing before the family of the packet is known.
    fn require_family(&mut self, key: &[Field]) {
        let Some(family) = key.iter().find_map(|field| field.family()).filter(|f| self.family != Some(*f))
        else {
            return;
        };
        self.meta(META_FAMILY, Register::FIRST);
        self.compare(EQUAL, &[family]);
        self.family = Some(family);
    }

    fn load(&mut self, field: Field, to: Register) {
        match field {
            Field::In => self.meta(META_INPUT_NAME, to),
            Field::Out => self.meta(META_OUTPUT_NAME, to),
            Field::Protocol => self.meta(META_PROTOCOL, to),
            field => self.load_octets(field, field.bytes(), to),
        }
    }

    /// NFTA_META_DREG, NFTA_META_KEY.
    fn meta(&mut self, key: u32, to: Register) {
        self.expression("meta", |body| {
            body.be32(1, to.number());
            body.be32(2, key);
        });
    }

    /// NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN.
    fn load_octets(&mut self, field: Field, length: u32, to: Register) {
        let (base, offset) = field.place();
        self.expression("payload", |body| {
            body.be32(1, to.number());
            body.be32(2, base);
            body.be32(3, offset);
            body.be32(4, length);
        });
    }

    /// NFTA_CMP_SREG, _OP, _DATA.
    fn compare(&mut self, how: u32, with: &[u8]) {
        self.expression("cmp", |body| {
            body.be32(1, Register::FIRST.number());
            body.be32(2, how);
            body.nest(3, |body| body.attr(VALUE, with));
        });
    }

    /// NFTA_LOOKUP_SET, _SREG, _DREG, _FLAGS.
    fn look_up(&mut self, key: &[Field], set: Set, to: Option<Register>, inverted: bool) {
        self.require_family(key);
        let mut register = Register::FIRST;
        for &field in key {
            self.load(field, register);
            register = register.behind(field.bytes());
        }
        self.expression("lookup", |body| {
            body.text(1, set.as_str());
            body.be32(2, Register::FIRST.number());
            if let Some(to) = to {
                body.be32(3, to.number());
            }
            if inverted {
                body.be32(5, INVERTED);
            }
        });
    }

    /// NFTA_NAT_TYPE, _FAMILY, _REG_ADDR_MIN, _REG_PROTO_MIN.
    fn translate(&mut self, kind: u32, family: u8, key: &[Field], map: Set) {
        self.look_up(key, map, Some(Register::FIRST), false);
        self.expression("nat", |body| {
            body.be32(1, kind);
            body.be32(2, family.into());
            body.be32(3, Register::FIRST.number());
            if kind == DNAT {
                let address = if family == IPV4 { 4 } else { 16 };
                body.be32(5, Register::FIRST.behind(address).number());
            }
        });
    }

    /// NFTA_FIB_DREG, _RESULT, _FLAGS.
    fn target_is_local(&mut self, how: u32) {
        self.expression("fib", |body| {
            body.be32(1, Register::FIRST.number());
            body.be32(2, ADDRESS_TYPE);
            body.be32(3, OF_TARGET);
        });
        self.compare(how, &LOCAL.to_ne_bytes());
    }

    /// NFTA_CT_DREG, _KEY; NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR.
    fn connection_has(&mut self, key: u32, any_of: u32) {
        self.expression("ct", |body| {
            body.be32(1, Register::FIRST.number());
            body.be32(2, key);
        });
        self.expression("bitwise", |body| {
            body.be32(1, Register::FIRST.number());
            body.be32(2, Register::FIRST.number());
            body.be32(3, 4);
            body.nest(4, |body| body.attr(VALUE, &any_of.to_ne_bytes()));
            body.nest(5, |body| body.attr(VALUE, &[0; 4]));
        });
        self.compare(UNEQUAL, &[0; 4]);
    }

    /// NFTA_IMMEDIATE_DREG, _DATA.
    fn decide(&mut self, code: i32, chain: Option<Chain>, instance: Instance) {
        let name = chain.map(|chain| Named { chain, instance }.to_string());
        self.expression("immediate", |body| {
            body.be32(1, Register::VERDICT.number());
            body.nest(2, |body| verdict(body, verdict_of(code), name.as_deref()));
        });
    }
}

impl Field {
    /// The family whose packets have it.
    const fn family(self) -> Option<u8> {
        match self {
            Self::Source4 | Self::Target4 => Some(IPV4),
            Self::Source6 | Self::Target6 => Some(IPV6),
            Self::In | Self::Out | Self::Protocol | Self::Port => None,
        }
    }

    /// Its size.
    const fn bytes(self) -> u32 {
        match self {
            Self::In | Self::Out | Self::Source6 | Self::Target6 => 16,
            Self::Source4 | Self::Target4 => 4,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }

    /// The header that it is in and its offset there (RFC 791, RFC 8200; the port is where TCP, UDP and
    /// SCTP have it).
    const fn place(self) -> (u32, u32) {
        match self {
            Self::Source4 => (NETWORK, 12),
            Self::Target4 => (NETWORK, 16),
            Self::Source6 => (NETWORK, 8),
            Self::Target6 => (NETWORK, 24),
            _ => (TRANSPORT, 2),
        }
    }
}
