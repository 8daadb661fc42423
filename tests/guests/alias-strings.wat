;; Gives 8192 decisions, however many are asked for, whose reasons are all one string of 64 KiB: half a MiB here,
;; 512 MiB once lifted. The host must stop lifting and name the limit on its own side of a call.
(func $resolve (param $batch i32) (result i32)
  (local $text i32) (local $decisions i32) (local $index i32)
  (local.set $text (call $new (i32.const 65536)))
  (memory.fill (local.get $text) (i32.const 65) (i32.const 65536))
  (local.set $decisions (call $new (i32.mul (i32.const 8192) (global.get $decision:size))))
  (loop $next
    (call $put-reason
      (i32.add (local.get $decisions) (i32.mul (local.get $index) (global.get $decision:size)))
      (local.get $text) (i32.const 65536))
    (local.set $index (i32.add (local.get $index) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $index) (i32.const 8192))))
  (call $resolved (local.get $decisions) (i32.const 8192)))
