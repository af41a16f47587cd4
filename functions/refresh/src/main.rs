//! Composes the refresh function. 
fn main(){}
