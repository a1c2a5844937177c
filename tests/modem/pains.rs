//! What people have suffered from gateways over modems, one test each: shown here not to happen.
