//! Many runs, each of another seed, and what must hold in all of them.
