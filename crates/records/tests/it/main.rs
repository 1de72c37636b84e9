//! What the files of this crate promise, seen from outside: by one process and by several.

#[cfg(test)]
mod folders;
#[cfg(test)]
mod ledgers;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod records;
#[cfg(test)]
mod scratch;
