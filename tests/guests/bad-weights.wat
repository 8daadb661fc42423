;; Names its first and its last candidate with 70 percent each. The host must refuse the answer: that is 140.
;; It wants two gateways in the mesh: of one it names that one twice, without any the subject goes direct.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described (i32.const 0) (i32.const 0) (global.get $reach=all)))

(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (local $subject i32) (local $count i32) (local $targets i32)
  (local.set $subject (call $subject (local.get $batch) (local.get $index)))
  (local.set $count (call $candidate-count (local.get $subject)))
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  (if (local.get $count)
    (then
      (local.set $targets (call $new (i32.mul (i32.const 2) (global.get $target:size))))
      (call $put-target (local.get $targets)
        (call $candidate (local.get $subject) (i32.const 0)) (i32.const 70))
      (call $put-target (i32.add (local.get $targets) (global.get $target:size))
        (call $candidate (local.get $subject) (i32.sub (local.get $count) (i32.const 1))) (i32.const 70))
      (call $put-waypoints (local.get $decision) (local.get $targets) (i32.const 2)))))
