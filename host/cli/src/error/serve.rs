//! Remedies for the errors of the wake word service.

use std::io;

use wakeling_serve::Error;

use super::{Advice, Advise, core::of_system};

impl Advise for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Core(error) => error.advice(),
            Self::Audio(error) => error.advice(),
            Self::Device(error) => error.advice(),
            Self::NotAnAddress { .. } => {
                Advice::usage("give a host and a port, such as 127.0.0.1:10400")
            }
            Self::NotOpened { source, .. } => Advice::system(match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program uses this port: end it, or name another with --address or --websocket"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "name an address of this computer, or 0.0.0.0 for all of them"
                }
                io::ErrorKind::PermissionDenied => "name a port from 1024 on",
                kind => of_system(kind),
            }),
            Self::NoModelInFolder { .. } => {
                Advice::input("put a model into it, such as the model.wkl of `wakeling finetune`")
            }
        }
    }
}
