//! Every method that clients may call, and what it takes to call it.
//!
//! Each request is judged by this table, in the handler of the peer that the client talks
//! to, and each message of a stream of requests. A method that is not here is refused by
//! the front of the port, and a test holds the table against the services that are served.

use z4_core::access::Role;

/// The condition that a caller has to meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Nothing: load balancers ask without credentials.
    Nothing,
    /// To be known. What is answered is cut to what the caller may see, or is the same for
    /// all.
    Known,
    /// The role on the namespace that the request names.
    On(Role),
    /// Any role on the namespace that the request names.
    AnyOn,
    /// The role admin.
    Admin,
}

macro_rules! methods {
    ($($method:ident $service:literal $need:expr, $audit:literal;)*) => {
        /// A method.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Method { $(
            #[allow(missing_docs)]
            $method,
        )* }

        impl Method {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$method,)*];

            /// Its name, as in metrics.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$method => stringify!($method),)* }
            }

            /// Its path in HTTP/2.
            pub(crate) fn path(self) -> &'static str {
                match self { $(Self::$method => concat!("/", $service, "/", stringify!($method)),)* }
            }

            /// The condition that a caller has to meet.
            pub(crate) fn need(self) -> Need {
                match self { $(Self::$method => $need,)* }
            }

            /// Tells whether the log notes who called the method, and what came of it.
            pub(crate) fn is_audited(self) -> bool {
                match self { $(Self::$method => $audit,)* }
            }
        }
    };
}

use Need::{Admin, AnyOn, Known, Nothing, On};
use Role::{Consumer, Operator, Producer, Reader};

methods! {
    CreateTask "z4.Collection" On(Producer), false;
    CreateTaskAsync "z4.Collection" On(Producer), false;
    CreateTaskStream "z4.Collection" On(Producer), false;
    CreateTaskStreamAsync "z4.Collection" On(Producer), false;
    CreateTasks "z4.Collection" On(Producer), false;
    CancelTask "z4.Collection" On(Producer), false;
    RescheduleTask "z4.Collection" On(Producer), false;
    GetTaskStream "z4.Collection" On(Consumer), false;
    Consume "z4.Collection" On(Consumer), false;
    LeaseTasks "z4.Collection" On(Consumer), false;
    AckTasks "z4.Collection" On(Consumer), false;
    NackTasks "z4.Collection" On(Consumer), false;
    ExtendLeases "z4.Collection" On(Consumer), false;
    ReleaseTasks "z4.Collection" On(Consumer), false;
    GetTask "z4.Collection" On(Reader), false;
    ListTasks "z4.Collection" On(Reader), false;
    ExplainTask "z4.Collection" On(Reader), false;
    RunTask "z4.Collection" On(Operator), false;
    RedriveTasks "z4.Collection" On(Operator), false;
    PurgeTasks "z4.Collection" On(Operator), true;
    GetNamespace "z4.Admin" AnyOn, false;
    GetNamespaceStats "z4.Admin" AnyOn, false;
    ListNamespaces "z4.Admin" Known, false;
    UpdateNamespace "z4.Admin" On(Operator), true;
    PauseNamespace "z4.Admin" On(Operator), true;
    ResumeNamespace "z4.Admin" On(Operator), true;
    DeleteNamespace "z4.Admin" On(Operator), true;
    CheckHealth "z4.Admin" Nothing, false;
    GetClusterInfo "z4.Admin" Known, false;
    AddClusterMember "z4.Admin" Admin, true;
    RemoveClusterMember "z4.Admin" Admin, true;
    TransferLeadership "z4.Admin" Admin, true;
    SetMemberAddress "z4.Admin" Admin, true;
    VerifyCluster "z4.Admin" Admin, false;
    GetPeerStatus "z4.Admin" Admin, false;
    HoldLevel "z4.Admin" Admin, true;
    Backup "z4.Admin" Admin, true;
    PutPrincipal "z4.Access" Admin, true;
    GetPrincipal "z4.Access" Admin, false;
    ListPrincipals "z4.Access" Admin, false;
    DeletePrincipal "z4.Access" Admin, true;
    CreateToken "z4.Access" Admin, true;
    RevokeToken "z4.Access" Admin, true;
    WhoAmI "z4.Access" Known, false;
    Check "grpc.health.v1.Health" Nothing, false;
    Watch "grpc.health.v1.Health" Nothing, false;
}

/// The services of reflection, which has one method by one name in each version: a caller
/// has to be known.
pub(crate) const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The condition that a caller of this path has to meet to get through the front of the
/// port; `None`: there is no such method.
pub(crate) fn need_at_front(path: &str) -> Option<Need> {
    if REFLECTION.contains(&path) {
        return Some(Known);
    }
    let method = Method::ALL.iter().find(|method| method.path() == path)?;
    Some(method.need())
}
