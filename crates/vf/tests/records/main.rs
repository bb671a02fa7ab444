//! Ledger files as earlier versions wrote them, in a folder for each format. They are never rewritten: what a node has
//! in its ledger while it's upgraded has to be read, and a pod's VF is returned by what it says.

#[cfg(test)]
mod format_1;
