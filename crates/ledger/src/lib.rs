//! Who owns which virtual function, its baseline and its state.
