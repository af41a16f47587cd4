"""Cases of `floors --self-test`: small trees, crates and commands, each with its verdict."""

Uses = tuple[tuple[str, str | None], ...]

ROOT = "mod a; mod b;"

# The case, its files, and the number of circles.
TREES: tuple[tuple[str, dict[str, str], int], ...] = (
    (
        "two files",
        {"lib.rs": ROOT, "a.rs": "use crate::b::B; struct A;", "b.rs": "use super::a::A; struct B;"},
        1,
    ),
    ("one way", {"lib.rs": ROOT, "a.rs": "use crate::b::B; struct A;", "b.rs": "struct B;"}, 0),
    (
        "two circles",
        {
            "lib.rs": "mod a; mod b; mod c; mod d;",
            "a.rs": "use crate::b::B; use crate::c::C; struct A;",
            "b.rs": "use crate::a::A; struct B;",
            "c.rs": "use crate::d::D; struct C;",
            "d.rs": "use crate::c::C; struct D;",
        },
        2,
    ),
    (
        "through the root's re-export",
        {"lib.rs": f"{ROOT} pub use b::B;", "a.rs": "use crate::B; struct A;", "b.rs": "use crate::a::A; struct B;"},
        1,
    ),
    ("a root that re-exports", {"lib.rs": "mod a; pub use a::A; struct R;", "a.rs": "use crate::R; struct A;"}, 0),
    ("a root that uses it too", {"lib.rs": "mod a; pub use a::A; struct R(A);", "a.rs": "use crate::R; struct A;"}, 1),
    (
        "parent and child",
        {"lib.rs": "mod a;", "a/mod.rs": "mod b; struct P; fn f() { b::g() }", "a/b.rs": "use super::P; fn g() {}"},
        1,
    ),
    (
        "a parent that re-exports and defines",
        {"lib.rs": "mod a;", "a.rs": "mod b; pub(crate) use b::B; struct P;", "a/b.rs": "use super::P; struct B;"},
        1,
    ),
    (
        "siblings through a parent that only re-exports",
        {"lib.rs": "mod a;", "a.rs": "mod b; mod c; pub use c::C;", "a/b.rs": "use super::C;", "a/c.rs": "struct C;"},
        0,
    ),
    (
        "groups, another name, a glob, and a path in the code",
        {
            "main.rs": "mod a; mod b; mod c;",
            "a.rs": "use std::{fmt, iter}; use crate::{c::{self, Other as C}, x}; fn f() { c::g() }",
            "b.rs": "fn h() -> u8 { 0..crate::a::f() } fn i() {}",
            "c.rs": "use crate::b::*; struct Other; fn g() { i() }",
        },
        1,
    ),
    (
        "a path in an attribute",
        {"lib.rs": ROOT, "a.rs": '#[serde(with = "crate::b::time")] struct A;', "b.rs": "use crate::a::A;"},
        1,
    ),
    (
        "through the root's glob",
        {"lib.rs": f"{ROOT} pub use b::*;", "a.rs": "use crate::B; struct A;", "b.rs": "use crate::a::A; struct B;"},
        1,
    ),
    (
        "a root that has the name of a re-export for something else",
        {"lib.rs": "mod a; pub use a::A; struct R { A: u8 } fn f(r: R) { r.A; }", "a.rs": "use crate::R; struct A;"},
        0,
    ),
    (
        "another crate of a module's name",
        {"lib.rs": "mod a; use ::a::X; struct R; fn f() { ::a::g() }", "a.rs": "use crate::R; use std::std;"},
        0,
    ),
    (
        "an inline module",
        {"lib.rs": "mod a; struct R; fn f() { a::g() }", "a.rs": "fn g() {} struct A; mod inner { use super::A; }"},
        0,
    ),
    (
        "up twice, between quotes",
        {
            "lib.rs": ROOT,
            "a.rs": "mod c;",
            "a/c.rs": "const Q: char = '\"'; use super::super::b::B; const R: char = '\"'; struct C;",
            "b.rs": "use crate::a::c::C; struct B;",
        },
        1,
    ),
    (
        "tests, comments and texts",
        {
            "lib.rs": ROOT,
            "a.rs": "use crate::b::B; struct A;",
            "b.rs": """struct B; // crate::a::A
                /* use crate::a::A; */ const T: &str = r#""crate::a::A""#; const Q: char = '"';
                fn f<'a>(x: &'a str) { a::g(x, "\\" crate::a::A"); }
                #[cfg(test)] mod tests { use crate::a::A; fn f() { super::super::a::g() } }
                #[cfg(test)] mod more;""",
        },
        0,
    ),
)

# The case, the crates with those that they use, and the faults.
CRATES: tuple[tuple[str, dict[str, Uses], list[str]], ...] = (
    ("downwards", {"threads-auth": (("threads-auth-store", None), ("threads-graph", None))}, []),
    ("upwards", {"threads-auth-model": (("threads-auth-store", None),)}, ["upwards"]),
    ("upwards for tests", {"threads-auth": (("devstack", "dev"),)}, ["upwards"]),
    ("sideways", {"token": (("sessions", None),)}, ["sideways"]),
    ("a function that uses the store", {"token": (("threads-auth-store", None),)}, ["too far down"]),
    ("a client that uses the service", {"threads-auth-client": (("threads-auth", None),)}, ["too far down"]),
    ("a function that uses the client", {"token": (("threads-auth-client", None),)}, ["upwards"]),
    ("a sandbox that uses ours", {"threads-sandbox": (("threads-graph", None),)}, ["too far down"]),
    ("AWS in the model", {"threads-auth-model": (("aws-smithy-types", None),)}, ["not on this floor"]),
    ("AWS in the model's tests", {"threads-auth-model": (("aws-smithy-types", "dev"),)}, []),
    ("AWS in a function", {"token": (("aws-sdk-dynamodb", None),)}, ["not on this floor"]),
    ("AWS where it is spared", {"events": (("aws-sdk-eventbridge", None),)}, []),
    ("a crate on no floor", {"threads-auth-extra": ()}, ["on no floor"]),
)

# A file of the command line, one that it uses, and what is wrong with it.
COMMANDS: tuple[tuple[str, str, list[str]], ...] = (
    ("main.rs", "person/login.rs", []),
    ("person/login.rs", "shell/output.rs", []),
    ("person/login.rs", "person/tokens.rs", []),
    ("person/login.rs", "operate/doctor.rs", ["sideways"]),
    ("shell/output.rs", "serve/dev.rs", ["upwards"]),
    ("serve/dev.rs", "main.rs", ["upwards"]),
    ("main.rs", "extra.rs", ["on no floor"]),
)

QUESTIONS = r"""| question | file | definition |
|---|---|---|
| Where is it? | a.rs | `fn it(a: u8 \| u16)` |
| Where is that? | `gone.rs` | `fn that` |
| Where is this? | a.rs | fn this |
| Where are the others? | a.rs |
"""
