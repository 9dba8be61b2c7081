//! Wakeling for C and C++.
#![no_std]
extern crate std;
