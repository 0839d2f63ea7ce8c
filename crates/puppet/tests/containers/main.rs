//! `foster` where it is somebody's PID 1 or somebody's service: in containers of podman's with runc, and as a unit of a
//! systemd that boots in one of nspawn's.

mod descriptors;
mod job_control;
mod leftovers;
mod podman;
mod room;
mod signals;
mod strangers;
mod systemd;
