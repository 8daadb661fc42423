//! The host side of the WIT package, version 0.1.0: the only `bindgen!`. Arguments are borrowed, answers are owned.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "waypoint-resolver",
    ownership: Borrowing { duplicate_if_necessary: true },
});
