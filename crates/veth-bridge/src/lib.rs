//! veth-bridge
