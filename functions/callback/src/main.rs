//! Composes the callback function. 
fn main(){}
