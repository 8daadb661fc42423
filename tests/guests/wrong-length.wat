;; Gives one decision too few. The host must refuse the answer with both numbers.
(func $resolve (param $batch i32) (result i32)
  (local $count i32)
  (local.set $count (call $subject-count (local.get $batch)))
  (call $resolved
    (call $new (i32.mul (local.get $count) (global.get $decision:size)))
    (i32.sub (local.get $count) (i32.ne (local.get $count) (i32.const 0)))))
