;; Calls itself in resolve until the stack ends. The host must name the limit on stack (or on fuel, if that is less).
(func $resolve (param $batch i32) (result i32)
  (i32.wrap_i64 (call $dig (i64.const 1))))
;; The addition after the call keeps the frame alive: this is no tail call.
(func $dig (param $depth i64) (result i64)
  (i64.add (call $dig (i64.add (local.get $depth) (i64.const 1))) (local.get $depth)))
