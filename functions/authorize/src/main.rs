//! Composes the authorize function. 
fn main(){}
