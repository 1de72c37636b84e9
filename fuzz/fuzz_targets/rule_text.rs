//! The text of others' rules, and of our own.
#![cfg_attr(fuzzing, no_main)]

linkspan_fuzz::target!(linkspan_fuzz::rules::Text);
