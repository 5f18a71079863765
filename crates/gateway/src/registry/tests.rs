//! The registry over loopback, used by those who will use it: skopeo, buildah and curl.

mod clients;
mod protocol;
mod server;
