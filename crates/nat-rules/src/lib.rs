//! nat-rules
