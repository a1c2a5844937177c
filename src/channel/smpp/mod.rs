//! SMPP 3.4 carriers.
