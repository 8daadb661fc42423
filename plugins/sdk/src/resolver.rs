//! The trait a plugin implements and the line that exports it; nothing here decides anything.

use crate::bindings::exports::wayswitch::waypoint::resolver::Guest;
use crate::{Batch, Decision, Description, Explanation, Failure};

/// One set of rules. All three functions are pure: equal arguments, equal answers, no memory from call to call.
pub trait Resolver {
    /// Checks the settings (the JSON of what the operator wrote; empty text: nothing) and says what is read under them.
    ///
    /// # Errors
    /// One line for the operator: which key is wrong and what is allowed there.
    fn describe(settings: &str) -> Result<Description, String>;

    /// One decision for each subject of the batch, in their order.
    ///
    /// # Errors
    /// What a trap could not say, for a trap carries no text.
    fn resolve(batch: &Batch) -> Result<Vec<Decision>, Failure>;

    /// The reasons for the only subject of the batch; the decision in it equals the one of [`Resolver::resolve`].
    ///
    /// # Errors
    /// As [`Resolver::resolve`]; also when the batch does not hold exactly one subject.
    fn explain(batch: &Batch) -> Result<Explanation, Failure>;
}

impl<T: Resolver> Guest for T {
    fn describe(settings: String) -> Result<Description, String> {
        <T as Resolver>::describe(&settings)
    }

    fn resolve(input: Batch) -> Result<Vec<Decision>, Failure> {
        <T as Resolver>::resolve(&input)
    }

    fn explain(input: Batch) -> Result<Explanation, Failure> {
        <T as Resolver>::explain(&input)
    }
}

/// Makes a type that implements [`Resolver`] the export of this component: `wayswitch_sdk::export!(MyRules);`.
///
/// Outside wasm it checks the trait and exports nothing: two plugins may then be linked into one test binary.
#[macro_export]
macro_rules! export {
    ($resolver:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[global_allocator]
            static ARENA: $crate::arena::Arena = $crate::arena::Arena::new();
    $crate::bindings::export_component!($resolver with_types_in $crate::bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn resolver<T: $crate::Resolver>() {}
            resolver::<$resolver>();
        };
    };
}
