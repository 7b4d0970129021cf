//! Requests to a server of the test.
