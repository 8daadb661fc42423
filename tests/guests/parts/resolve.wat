;; Asks $decide for each subject, in order.
(func $resolve (param $batch i32) (result i32)
  (local $decisions i32) (local $count i32) (local $index i32)
  (local.set $count (call $subject-count (local.get $batch)))
  (local.set $decisions (call $new (i32.mul (local.get $count) (global.get $decision:size))))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $index) (local.get $count)))
      (call $decide (local.get $batch) (local.get $index)
        (i32.add (local.get $decisions) (i32.mul (local.get $index) (global.get $decision:size))))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))
  (call $resolved (local.get $decisions) (local.get $count)))
