//! net-types
